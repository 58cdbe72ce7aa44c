// The MCP Inspector by its command line. Usage: inspector-cli.mjs MCP_URL http|http-auto|sse [STAGE FOLDER]
// The first run finds no token and prints the address to sign in at, each that follows lives on what is stored.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Browser } from "./browser.mjs";
import { ANEW, AT_A_401, ROTATED, TOOL, WIPED, check, checkTools, checkUser, drive, shown, until, within } from "./checks.mjs";
import { VERSION, memory, start } from "./inspector.mjs";

const [url, kind, stage, kept] = process.argv.slice(2);
const SECRETS = "secrets.json";
const SPOILT = "sp1_at_spoilt";
const SIGN_IN_WITHIN_MS = 60_000;
const ANSWER_WITHIN_MS = 60_000;
const NAVIGATE = /Please navigate to: (\S+)/;

const STAGES = { "signed-in": firstSignIn, wiped, rotated };
const LIST = ["--method", "tools/list"];
const CALL = ["--method", "tools/call", "--tool-name", TOOL];
const NO_SIGN_IN = "--stored-auth-only";

drive(async () => {
  console.log(`MCP Inspector ${VERSION}`);
  if (stage) return STAGES[stage]({ folder: kept });
  const store = memory();
  try {
    await firstSignIn(store);
    checkUser(await run(store, [...CALL, NO_SIGN_IN]));
    shown("second run by stored token");
    await refreshed(store);
    await anew(store);
    shown(ANEW);
    await relogin(store);
  } finally {
    store.forget();
  }
});

async function firstSignIn(store) {
  checkTools((await run(store, LIST, signIn)).tools);
  shown("first sign-in");
}

/** The store has lost every session: the kept tokens are refused, the kept registration is not. */
async function wiped(store) {
  check(tokens(store), "it has kept its tokens");
  await asTheSameClient(store, async () => checkTools((await run(store, LIST, signIn)).tools));
  checkUser(await run(store, [...CALL, NO_SIGN_IN]));
  shown(WIPED);
}

/** What the former key has sealed still opens: the tokens, then the registration alone. */
async function rotated(store) {
  await asTheSameClient(store, async () => checkUser(await run(store, [...CALL, NO_SIGN_IN])));
  await anew(store);
  shown(ROTATED);
}

async function anew(store) {
  keepTokens(store, undefined);
  await asTheSameClient(store, async () => checkTools((await run(store, LIST, signIn)).tools));
}

/** With a spoilt access token the next command is refused; it must help itself with the refresh token. */
async function refreshed(store) {
  const before = tokens(store);
  keepTokens(store, { ...before, access_token: SPOILT });
  await asTheSameClient(store, async () => checkUser(await run(store, [...CALL, NO_SIGN_IN])));
  const { access_token: access, refresh_token: next } = tokens(store);
  check(access.startsWith("sp1_at_") && ![before.access_token, SPOILT].includes(access), "it got a new access token");
  check(next?.startsWith("sp1_rt_") && next !== before.refresh_token, "and the next refresh token");
  shown(AT_A_401);
}

/** `--relogin` forgets all that is stored, the registration too. */
async function relogin(store) {
  const former = clientId(store);
  checkTools((await run(store, [...LIST, "--relogin"], signIn)).tools);
  check(clientId(store) !== former, "it has registered anew");
  checkUser(await run(store, [...CALL, NO_SIGN_IN]));
  shown("`--relogin`");
}

async function asTheSameClient(store, act) {
  const before = clientId(store);
  check(before?.startsWith("sp1_cl_"), "it has kept its registration", before);
  await act();
  check(clientId(store) === before, "it is the client it was");
}

function clientId({ folder }) {
  const server = JSON.parse(readFileSync(join(folder, "oauth.json"), "utf8")).servers[url];
  return server.byIssuer[server.activeIssuer].clientInformation.client_id;
}

/** It keeps them apart from the rest, as it would in a keychain. */
function tokens({ folder }) {
  const { secrets } = JSON.parse(readFileSync(join(folder, SECRETS), "utf8"));
  const text = secrets[Object.keys(secrets).find(isTokens)];
  return text && JSON.parse(text);
}

/** Changes them behind its back; `undefined` takes them away. */
function keepTokens({ folder }, changed) {
  const kept = JSON.parse(readFileSync(join(folder, SECRETS), "utf8"));
  const key = Object.keys(kept.secrets).find(isTokens);
  check(key, "it has kept its tokens", Object.keys(kept.secrets));
  kept.secrets[key] = changed && JSON.stringify(changed);
  writeFileSync(join(folder, SECRETS), JSON.stringify(kept));
}

function isTokens(key) {
  return key.includes(":tokens:");
}

/** Runs one command; `meanwhile` acts while it waits. Answers the JSON it printed. */
async function run(store, what, meanwhile) {
  const [transport, era] = kind === "sse" ? ["sse", "legacy"] : ["http", kind === "http-auto" ? "auto" : "legacy"];
  const args = ["--cli", "--server-url", url, "--transport", transport, "--protocol-era", era, "--format", "json"];
  // Port 0: a free one. Where there is no terminal, it starts a sign-in only if told that a browser may be opened.
  const callback = ["--callback-url", "http://127.0.0.1:0/oauth/callback"];
  const { child, output, ended } = start([...args, ...callback, ...what], store, { MCP_AUTO_OPEN_ENABLED: "true" });
  try {
    await meanwhile?.(output);
    const code = await within(`${what[1]} ends`, ANSWER_WITHIN_MS, ended);
    check(code === 0, `${what[1]} exits 0`, `${code}: ${output.stderr}${output.stdout}`);
    const answer = JSON.parse(output.stdout);
    return answer.result ?? answer;
  } finally {
    child.kill();
  }
}

async function signIn(output) {
  const link = await until("the address to sign in at", SIGN_IN_WITHIN_MS, () => NAVIGATE.exec(output.stderr)?.[1]);
  check(link.startsWith(new URL("/authorize?", url).href), "it asks to sign in at the edge's /authorize", link);
  const page = await new Browser().signIn(link);
  check(page.status === 200 && page.url.pathname === "/oauth/callback", "the browser ends at the Inspector's redirect URI", page.url.href);
}
