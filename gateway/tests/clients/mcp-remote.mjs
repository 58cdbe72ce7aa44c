// mcp-remote, the bridge for programs that speak stdio only. Usage: mcp-remote.mjs MCP_URL http|sse [STAGE FOLDER]
// The first run signs in, each that follows lives on what is stored.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Browser } from "./browser.mjs";
import { ANEW, AT_A_401, IN_TIME, ROTATED, TOOL, WIPED, check, checkTools, checkUser, drive, freePort, shown, until, within } from "./checks.mjs";
import { Stdio } from "./stdio.mjs";

const [url, kind, stage, kept] = process.argv.slice(2);
const PACKAGE = createRequire(import.meta.url).resolve("mcp-remote/package.json");
const AUTHORIZE = /^Please authorize this client by visiting:\s+(\S+)/m;
const CLIENT = "client_info.json";
const TOKENS = "tokens.json";
const SPOILT = "sp1_at_spoilt";
const SIGN_IN_WITHIN_MS = 60_000;
const END_WITHIN_MS = 60_000;

const STAGES = { "signed-in": firstSignIn, wiped, rotated };

drive(async () => {
  if (stage) return STAGES[stage](kept);
  const folder = mkdtempSync(join(tmpdir(), "mcp-remote-"));
  try {
    await firstSignIn(folder);
    await stays(folder, false);
    shown("second run by stored token");
    await refreshed(folder, {}, AT_A_401);
    await refreshed(folder, { expires_at: Date.now() - 1 }, IN_TIME);
    await anew(folder);
    shown(ANEW);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

async function firstSignIn(folder) {
  const said = await run(folder, await freePort(), signIn);
  check(AUTHORIZE.test(said), "the first run asks for a sign-in");
  const registered = stored(folder, CLIENT).client_id;
  check(registered?.startsWith("sp1_cl_"), "it has stored a registration of the edge", registered);
  shown("first sign-in");
}

/** A run as the client that is kept, with or without a sign-in. */
async function stays(folder, asks) {
  const { client_id: before, redirect_uris: [redirect] } = stored(folder, CLIENT);
  const said = await run(folder, new URL(redirect).port, asks ? signIn : undefined);
  check(AUTHORIZE.test(said) === asks, asks ? "it asks for a sign-in" : "it asks for no sign-in", said);
  check(stored(folder, CLIENT).client_id === before, "and is the client it was");
}

/** With a spoilt access token, and perhaps out of date by its own clock, it must help itself with the refresh token. */
async function refreshed(folder, changes, what) {
  const before = stored(folder, TOKENS);
  writeFileSync(find(folder, TOKENS), JSON.stringify({ ...before, ...changes, access_token: SPOILT }));
  await stays(folder, false);
  const { access_token: access, refresh_token: next } = stored(folder, TOKENS);
  check(access.startsWith("sp1_at_") && ![before.access_token, SPOILT].includes(access), "it got a new access token");
  check(next?.startsWith("sp1_rt_") && next !== before.refresh_token, "and the next refresh token");
  shown(what);
}

/** The store has lost every session: the kept tokens are refused, the kept registration is not. */
async function wiped(folder) {
  check(stored(folder, TOKENS).access_token, "it has kept its tokens");
  await stays(folder, true);
  shown(WIPED);
}

/** What the former key has sealed still opens: the tokens, then the registration alone. */
async function rotated(folder) {
  await stays(folder, false);
  await anew(folder);
  shown(ROTATED);
}

async function anew(folder) {
  rmSync(find(folder, TOKENS));
  await stays(folder, true);
}

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
  // It prints the address before it listens; no person is as fast as this browser.
  const { origin } = new URL(new URL(link).searchParams.get("redirect_uri"));
  await until("its callback listens", SIGN_IN_WITHIN_MS, () => fetch(origin).catch(() => null));
  const page = await new Browser().signIn(link);
  check(page.status === 200 && page.url.pathname === "/oauth/callback", "the browser ends at its redirect URI", page.url.href);
}

function stored(folder, ending) {
  return JSON.parse(readFileSync(find(folder, ending), "utf8"));
}

/** The file of that name that it keeps; they lie in a folder per version. */
function find(folder, ending) {
  const files = readdirSync(folder, { recursive: true });
  const file = files.find((name) => name.endsWith(ending));
  check(file, `it keeps a file ${ending}`, files);
  return join(folder, file);
}
