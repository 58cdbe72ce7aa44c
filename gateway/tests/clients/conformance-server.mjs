// The official conformance suite's `server` command against the fixtures it wants, directly and through the edge: the verdicts
// must be the same. Usage: conformance-server.mjs MCP_URL DIRECT_URL

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { check, drive, shown, within } from "./checks.mjs";
import { signedIn } from "./raw-client.mjs";
import { REVISIONS, alike, differences, having, verdicts } from "./verdicts.mjs";

const [mcpUrl, directUrl] = process.argv.slice(2).map((url) => new URL(url));
const PACKAGE = createRequire(import.meta.url).resolve("@modelcontextprotocol/conformance/package.json");
const SUITE = join(dirname(PACKAGE), "dist/index.js");
const BEARER = new URL("bearer.mjs", import.meta.url).href;
const WITHIN_MS = 120_000;

drive(async () => {
  const { tokens } = await signedIn(mcpUrl, "Conformance suite");
  const bearer = { NODE_OPTIONS: `--import=${BEARER}`, BEARER_ORIGIN: mcpUrl.origin, BEARER_TOKEN: tokens.access_token };
  const differing = [];
  for (const required of REVISIONS) {
    // Each has a server of its own, and they mostly wait.
    const [direct, through] = await Promise.all([
      run("directly", required, directUrl, {}),
      run("through the edge", required, mcpUrl, bearer),
    ]);
    check(direct.run.size === required.scenarios, `${required.revision}: there are ${required.scenarios} scenarios`, direct.run.size);
    const passing = having(direct.run, "SUCCESS").length;
    check(passing >= required.passing, `directly at least ${required.passing} checks pass`, passing);
    const failing = having(direct.run, "FAILURE", "WARNING");
    check(direct.code === 0 && failing.length === 0, "and none fails", failing);    differing.push(...differences(direct.run, through.run).map((each) => `${required.revision} ${told(each)}`));
    if (differing.length === 0) check(through.code === 0, "nor does one through the edge", through.output);
  }
  check(differing.length === 0, "through the edge every verdict is the same", `\n${differing.join("\n")}`);
  for (const required of REVISIONS) shown(alike(required));
});

/** One run of the suite: its verdicts, exit code and output. */
async function run(how, { revision }, url, environment) {
  const folder = mkdtempSync(join(tmpdir(), "conformance-"));
  try {
    const args = [SUITE, "server", "--url", url.href, "--requirements", revision, "-o", folder];
    const child = spawn(process.execPath, args, { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    const ended = new Promise((resolve, reject) => child.on("close", resolve).on("error", reject));
    const code = await within(`the suite ends (${revision}, ${how})`, WITHIN_MS, ended);
    return { code, output: output.slice(-4_000), run: verdicts(folder) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const told = ({ scenario, check, direct, through, saying }) => `${scenario}, ${check}\n  directly ${direct}, through the edge ${through}: ${saying}`;
