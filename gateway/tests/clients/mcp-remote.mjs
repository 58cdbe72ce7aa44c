// mcp-remote, the bridge for programs that speak stdio only. Usage: mcp-remote.mjs MCP_URL http|sse
// Twice: the first run signs in, the second lives on what the first stored.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Browser } from "./browser.mjs";
import { TOOL, check, checkTools, checkUser, drive, freePort, shown, until, within } from "./checks.mjs";
import { Stdio } from "./stdio.mjs";

const [url, kind] = process.argv.slice(2);
const PACKAGE = createRequire(import.meta.url).resolve("mcp-remote/package.json");
const AUTHORIZE = /^Please authorize this client by visiting:\s+(\S+)/m;
const SIGN_IN_WITHIN_MS = 20_000;
const END_WITHIN_MS = 10_000;

drive(async () => {
  const folder = mkdtempSync(join(tmpdir(), "mcp-remote-"));
  try {
    const port = await freePort();
    const first = await run(folder, port, signIn);
    check(AUTHORIZE.test(first), "the first run asks for a sign-in");
    shown("first sign-in");
    const registered = stored(folder, "client_info.json").client_id;
    check(registered?.startsWith("sp1_cl_"), "it has stored a registration of the edge", registered);

    const second = await run(folder, port);
    check(!AUTHORIZE.test(second), "the second run asks for none", second);
    check(stored(folder, "client_info.json").client_id === registered, "and is the same client");
    shown("second run by stored token");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Lists and calls through one run of the bridge; `meanwhile` acts while it connects. Answers what it said on stderr. */
async function run(folder, port, meanwhile) {
  const transport = kind === "sse" ? "sse-only" : "http-only";
  const args = [join(dirname(PACKAGE), "dist/proxy.js"), url, String(port), "--transport", transport];
  // No PATH and no display: it finds no browser to open, and prints the address.
  const env = { PATH: "", HOME: folder, MCP_REMOTE_CONFIG_DIR: folder };
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"], env });
  const said = { stderr: "" };
  child.stderr.on("data", (chunk) => (said.stderr += chunk));
  const ended = new Promise((resolve, reject) => child.on("close", resolve).on("error", reject));
  try {
    const bridge = new Stdio(child);
    const connected = bridge.initialize();
    connected.catch(() => {});
    await meanwhile?.(said);
    check((await connected).serverInfo?.name, "the bridge is connected");
    checkTools((await bridge.request("tools/list")).tools);
    checkUser(await bridge.request("tools/call", { name: TOOL, arguments: {} }));
    return said.stderr;
  } catch (error) {
    throw new Error(`${error.message}\n${said.stderr}`);
  } finally {
    child.stdin.end();
    child.kill();
    await within("mcp-remote ends", END_WITHIN_MS, ended);
  }
}

async function signIn(said) {
  const link = await until("the address to sign in at", SIGN_IN_WITHIN_MS, () => AUTHORIZE.exec(said.stderr)?.[1]);
  check(link.startsWith(new URL("/authorize?", url).href), "it asks to sign in at the edge's /authorize", link);
  const page = await new Browser().signIn(link);
  check(page.status === 200 && page.url.pathname === "/oauth/callback", "the browser ends at its redirect URI", page.url.href);
}

/** The JSON file of that name that it keeps; they lie in a folder per version. */
function stored(folder, ending) {
  const file = readdirSync(folder, { recursive: true }).find((name) => name.endsWith(ending));
  check(file, `it keeps a file ${ending}`, readdirSync(folder, { recursive: true }));
  return JSON.parse(readFileSync(join(folder, file), "utf8"));
}
