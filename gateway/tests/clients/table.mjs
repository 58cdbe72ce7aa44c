// docs/compatibility.md: written from what a run has shown, and held against the pins by every run.

import { readFileSync, writeFileSync } from "node:fs";
import { ANEW, AT_A_401, IN_TIME, ROTATED, WIPED, check } from "./checks.mjs";
import { REVISIONS, alike } from "./verdicts.mjs";

const TABLE = new URL("../../../docs/compatibility.md", import.meta.url);
const TITLES = ["Client", "Version", "Transport", "Shown"];
/** What drivers can say they have shown, in the order of a reader's interest. */
const STEPS = [
  "first sign-in",
  "`tools/list`",
  "`tools/call`",
  "second run by stored token",
  AT_A_401,
  IN_TIME,
  ANEW,
  "`--relogin`",
  WIPED,
  ROTATED,
  "2 of 2 scenarios",
  ...REVISIONS.map(alike),
];
const INTRODUCTION = `# Clients that work with Sallyport

Written by the client tests (\`gateway/tests/clients/run --table\`) from what they saw; not edited by hand. Each line is a
program of the pinned version that went through the edge: refused with 401, it found its way by the metadata, registered,
a person allowed it and signed in, and it did what the last column says. (The conformance suite starts at the metadata, as a
client registered for it; its \`server\` command has a token, and asks a server with what the suite wants to see.) A run fails
when this page is not what it saw.
`;

/**
 * The page.
 * @param {{client: {name: string, package: string, version: string}, transport: string, shown: string[]}[]} results
 *   one per driver that passed; drivers of the same client and transport share a line
 */
export function render(results) {
  const lines = new Map();
  for (const { client, transport, shown } of results) {
    const key = `${client.name}\n${transport}`;
    const line = lines.get(key) ?? { client, transport, shown: new Set() };
    for (const each of shown) line.shown.add(each);
    lines.set(key, line);
  }
  const rows = [...lines.values()].map(({ client, transport, shown }) => {
    if (shown.size === 0) throw new Error(`${client.name} over ${transport} passed but has shown nothing`);
    const unknown = [...shown].filter((step) => !STEPS.includes(step));
    if (unknown.length > 0) throw new Error(`what is "${unknown[0]}"? The table does not know this step`);
    const steps = STEPS.filter((step) => shown.has(step));
    return [`${client.name} (\`${client.package}\`)`, client.version, transport, steps.join(", ")];
  });
  rows.sort(([a], [b]) => order(results, a) - order(results, b));
  const table = [TITLES, TITLES.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  return `${INTRODUCTION}\n${table.join("\n")}\n`;
}

export function write(text) {
  writeFileSync(TABLE, text);
}

/** Throws unless the checked-in page names exactly these clients and versions. */
export function checkPins(clients) {
  const written = [...new Set(checkedIn().split("\n").filter(isRow).map((line) => cells(line).slice(0, 2).join(" ")))].sort();
  const wanted = clients.map((client) => `${client.name} (\`${client.package}\`) ${client.version}`).sort();
  check(written.join("\n") === wanted.join("\n"), `docs/compatibility.md names the pinned clients; if not: run --table`, { written, wanted });
}

/** Throws unless the checked-in page is what this run has shown. */
export function checkPage(text) {
  const stale = text.split("\n").find((line) => !checkedIn().split("\n").includes(line));
  check(checkedIn() === text, "docs/compatibility.md is what this run has shown; if not: run --table", stale ?? "lines too many");
}

function checkedIn() {
  return readFileSync(TABLE, "utf8");
}

function isRow(line) {
  return line.startsWith("| ") && !line.startsWith("| ---") && !line.startsWith(`| ${TITLES[0]} `);
}

function cells(line) {
  return line.split("|").slice(1, -1).map((cell) => cell.trim());
}

/** Lines of one client stand together, in the order in which the clients ran. */
function order(results, title) {
  return results.findIndex(({ client }) => title.startsWith(`${client.name} (`));
}
