// The load generator against the edge: it signs in by itself, a short run is answered whole, forged tokens are refused.
// Usage: load.mjs MCP_URL

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { check, drive } from "./checks.mjs";

const mcpUrl = new URL(process.argv[2]);
const PROGRAM = join(dirname(process.env.SALLYPORT_BIN), "loadtest");
const REQUESTS = 300;

drive(async () => {
  const folder = mkdtempSync(join(tmpdir(), "sallyport-load-"));
  try {
    const file = join(folder, "tokens.jsonl");
    const run = (command, ...more) => promisify(execFile)(PROGRAM, [command, "--url", mcpUrl.href, ...more]);
    const signedIn = await run("sign-in", "--sessions", "6", "--parallel", "3", "--out", file);
    check(signedIn.stdout.includes("6 sign-ins in "), "it signs in", signedIn.stdout);

    const { stdout } = await run("closed", "--tokens", file, "--requests", String(REQUESTS), "--callers", "4", "--seconds", "60");
    check(stdout.includes(`${REQUESTS} answers in `), "every request is answered", stdout);
    console.log(stdout.trim());

    const storm = await run("storm", "--kind", "forged", "--tokens", file, "--rate", "50", "--seconds", "1", "--max-lag-ms", "1000");
    check(storm.stdout.includes("50 answers in "), "forged tokens are refused", storm.stdout);
    const refused = await run("closed", "--requests", "10").catch((error) => error);
    check(refused.code === 1 && refused.stdout.includes("Void"), "a run that is refused is void", refused);

    const streams = new URL("/mcp/sse", mcpUrl).href;
    const held = await promisify(execFile)(PROGRAM, ["streams", "--url", streams, "--tokens", file, "--streams", "10", "--seconds", "1"]);
    check(held.stdout.includes("10 streams in "), "streams are held", held.stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
