// The load generator with a token of its own: a short run, every answer 200. Usage: load.mjs MCP_URL

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { Browser } from "./browser.mjs";
import { check, drive, redirectReceiver } from "./checks.mjs";
import { authorizeUrl, newVerifier, redeem, register } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);
const PROGRAM = join(dirname(process.env.SALLYPORT_BIN), "loadtest");
const REQUESTS = 300;

drive(async () => {
  const redirect = await redirectReceiver("/callback");
  const clientId = await register(mcpUrl, "Load test", redirect.uri);
  const verifier = newVerifier();
  await new Browser().signIn(authorizeUrl(mcpUrl, clientId, redirect.uri, "load", verifier));
  const code = redirect.received[0].get("code");
  const token = await redeem(mcpUrl, clientId, redirect.uri, code, verifier);
  redirect.close();

  const folder = mkdtempSync(join(tmpdir(), "sallyport-load-"));
  try {
    const file = join(folder, "token");
    writeFileSync(file, token, { mode: 0o600 });
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
