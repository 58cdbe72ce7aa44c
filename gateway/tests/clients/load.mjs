// The load generator with a token of its own: a short run, every answer 200. Usage: load.mjs MCP_URL

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { check, drive } from "./checks.mjs";
import { signedIn } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);
const PROGRAM = join(dirname(process.env.SALLYPORT_BIN), "loadtest");
const REQUESTS = 300;

drive(async () => {
  const { tokens } = await signedIn(mcpUrl, "Load test");
  const folder = mkdtempSync(join(tmpdir(), "sallyport-load-"));
  try {
    const file = join(folder, "token");
    writeFileSync(file, tokens.access_token, { mode: 0o600 });
    const run = (...more) => promisify(execFile)(PROGRAM, ["--url", mcpUrl.href, "--token-file", file, ...more]);
    const { stdout } = await run("--requests", String(REQUESTS), "--callers", "4");
    check(stdout.startsWith(`${REQUESTS} answers in `), "every request is answered", stdout);
    console.log(stdout.trim());

    writeFileSync(file, "sp1_at_nothing");
    const refused = await run("--requests", "10").catch((error) => error);
    check(refused.code === 1 && refused.stdout.includes("void"), "a run that is refused is void", refused);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
