// The official conformance suite's `authorization` command, with a person who signs in where it asks.
// Usage: conformance.mjs MCP_URL

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Browser } from "./browser.mjs";
import { check, drive, freePort, shown, until, within } from "./checks.mjs";
import { register } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);
const PACKAGE = createRequire(import.meta.url).resolve("@modelcontextprotocol/conformance/package.json");
const SCENARIOS = ["authorization-server-metadata-endpoint", "authorization-code-grant"];
const AUTHORIZE = /^http\S+\/authorize\?\S+$/m;
const WITHIN_MS = 120_000;

drive(async () => {
  const port = await freePort();
  const clientId = await register(mcpUrl, "Conformance suite", `http://127.0.0.1:${port}/callback`);
  const folder = mkdtempSync(join(tmpdir(), "conformance-"));
  const suite = start(["--url", mcpUrl.origin, "--client-id", clientId, "--resource", mcpUrl.href, "-p", String(port), "-o", folder]);
  try {
    const link = await until("the suite asks for a sign-in", WITHIN_MS, () => AUTHORIZE.exec(suite.output.text)?.[0]);
    await until("its callback listens", WITHIN_MS, () => suite.output.text.includes("Callback server started"));
    const page = await new Browser().signIn(link);
    check(page.status === 200 && page.url.port === String(port), "the browser ends at the suite's redirect URI", page.url.href);
    const code = await within("the suite ends", WITHIN_MS, suite.ended);
    check(code === 0, "the suite exits 0", suite.output.text);
    for (const scenario of SCENARIOS) {
      check(new RegExp(`^✓ ${scenario}: [1-9]\\d* passed, 0 failed$`, "m").test(suite.output.text), `${scenario} passes`, suite.output.text);
      report(folder, scenario);
    }
    const verdicts = suite.output.text.match(/^[^\w\s] \S+: \d+ passed, \d+ failed/gm);
    check(verdicts.length === SCENARIOS.length, "there are no other scenarios", verdicts);
    shown("2 of 2 scenarios");
  } finally {
    suite.child.kill();
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Says aloud what the suite warns of: its summary does not. */
function report(folder, scenario) {
  const file = readdirSync(folder, { recursive: true }).find((name) => name.includes(scenario) && name.endsWith("checks.json"));
  const checks = JSON.parse(readFileSync(join(folder, file), "utf8"));
  const failures = checks.filter(({ status }) => status === "FAILURE");
  check(checks.some(({ status }) => status === "SUCCESS") && failures.length === 0, `and none of its ${checks.length} checks fails`, failures);
  for (const { name, errorMessage } of checks.filter(({ status }) => status === "WARNING")) console.log(`WARNING ${name}: ${errorMessage}`);
}

function start(args) {
  const child = spawn(process.execPath, [join(dirname(PACKAGE), "dist/index.js"), "authorization", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const output = { text: "" };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output.text += chunk));
  const ended = new Promise((resolve, reject) => child.on("close", resolve).on("error", reject));
  return { child, output, ended };
}
