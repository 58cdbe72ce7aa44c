// The MCP Inspector by its command line. Usage: inspector-cli.mjs MCP_URL http|http-auto|sse
// Twice: the first run finds no token and prints the address to sign in at, the second lives on what the first stored.

import { Browser } from "./browser.mjs";
import { TOOL, check, checkTools, checkUser, drive, shown, until, within } from "./checks.mjs";
import { VERSION, memory, start } from "./inspector.mjs";

const [url, kind] = process.argv.slice(2);
const SIGN_IN_WITHIN_MS = 20_000;
const ANSWER_WITHIN_MS = 20_000;
const NAVIGATE = /Please navigate to: (\S+)/;

drive(async () => {
  console.log(`MCP Inspector ${VERSION}`);
  const store = memory();
  try {
    checkTools((await run(store, ["--method", "tools/list"], signIn)).tools);
    shown("first sign-in");
    const call = ["--method", "tools/call", "--tool-name", TOOL, "--stored-auth-only"];
    checkUser(await run(store, call));
    shown("second run by stored token");
  } finally {
    store.forget();
  }
});

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
