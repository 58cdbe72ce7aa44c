// What a program built on an official TypeScript SDK does, the same for both lines: refused, registered, signed in by a
// person, connected, tool listed and called, and the same program again on what it has kept. The drivers bring their
// line's classes; `provider.mjs` is the program's memory.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Browser } from "./browser.mjs";
import { ANEW, AT_A_401, ROTATED, TOOL, WIPED, check, checkCallback, checkTools, checkUser, redirectReceiver, shown } from "./checks.mjs";
import { Provider } from "./provider.mjs";

const SPOILT = "sp1_at_spoilt";
/** Between two runs of a steady client, which is not there to be fast. */
const PAUSE_MS = 50;

/**
 * @typedef {object} Sdk
 * @property {(url: URL, provider: object) => object} transport a fresh transport
 * @property {() => object} client a fresh client
 * @property {(transport: object, answer: URLSearchParams) => Promise<void>} finish redeems what the redirect URI received
 * @property {(client: object, transport: object) => Promise<void>} [connected] more checks on the live connection
 */

/**
 * All of it, or one stage of a client whose edge has fallen on hard times.
 * @param {URL} url the MCP endpoint
 * @param {Sdk} sdk
 * @param {string} [stage] `signed-in`, `wiped`, `rotated` or `steady`, of a client that keeps its things in `folder`
 * @param {string} [folder]
 */
export async function journey(url, sdk, stage, folder) {
  const redirect = await redirectReceiver();
  const program = { url, sdk, redirect, provider: new Provider(redirect.uri, folder), folder };
  await { [undefined]: wholeLife, "signed-in": firstSignIn, wiped, rotated, steady }[stage](program);
  redirect.close();
}

async function wholeLife(program) {
  const { provider } = program;
  await firstSignIn(program);
  const { authorizeUrl, registered } = provider;
  await use(program);
  check(provider.authorizeUrl === authorizeUrl && provider.registered === registered, "the second run neither registered nor asked for a sign-in");
  shown("second run by stored token");
  await refreshed(program);
  await anew(program);
  shown(ANEW);
}

async function firstSignIn(program) {
  await signIn(program);
  shown("first sign-in");
  await use(program);
}

/** The store has lost every session: the kept tokens are refused, the kept registration is not. */
async function wiped(program) {
  await asTheSameClient(program.provider, () => signIn(program));
  await use(program);
  shown(WIPED);
}

/** What the former key has sealed still opens: the tokens, then the registration alone. */
async function rotated(program) {
  await use(program);
  check(!program.provider.authorizeUrl, "it was asked for no sign-in");
  await anew(program);
  shown(ROTATED);
}

/** Run after run, until somebody says that it is enough. */
async function steady(program) {
  await firstSignIn(program);
  while (!existsSync(join(program.folder, "stop"))) {
    await use(program);
    await sleep(PAUSE_MS);
  }
}

async function anew(program) {
  program.provider.invalidateCredentials("tokens");
  await asTheSameClient(program.provider, () => signIn(program));
  await use(program);
}

async function asTheSameClient(provider, act) {
  const before = provider.registered?.client_id;
  check(before?.startsWith("sp1_cl_"), "it has kept its registration", before);
  await act();
  check(provider.registered?.client_id === before, "it has signed in as the client it was");
}

/** With a spoilt access token the next run is refused; the SDK must help itself with the refresh token. */
async function refreshed(program) {
  const { provider } = program;
  const before = provider.saved;
  const asked = provider.authorizeUrl;
  provider.saveTokens({ ...before, access_token: SPOILT });
  await use(program);
  const { access_token: access, refresh_token: next } = provider.saved;
  check(access.startsWith("sp1_at_") && ![before.access_token, SPOILT].includes(access), "it got a new access token");
  check(next?.startsWith("sp1_rt_") && next !== before.refresh_token, "and the next refresh token");
  check(provider.authorizeUrl === asked, "without a sign-in");
  shown(AT_A_401);
}

/** A run that is refused, so that a person has to sign in; answers when the program has its tokens. */
async function signIn({ url, sdk, redirect, provider }) {
  const refused = sdk.transport(url, provider);
  const error = await sdk.client().connect(refused).then(() => null, (reason) => reason);
  check(error?.constructor.name === "UnauthorizedError", "the connection asks for a sign-in", String(error));
  check(provider.registered?.client_id?.startsWith("sp1_cl_"), "the client is registered", provider.registered);
  checkAuthorizeUrl(provider, url);

  const page = await new Browser().signIn(provider.authorizeUrl);
  check(page.status === 200 && page.url.href.startsWith(redirect.uri), "the browser ends at the client's redirect URI", page.url.href);
  const answer = checkCallback(redirect.received.splice(0), url.origin);
  check(answer.get("state") === provider.sentState, "the client's state came back", answer.get("state"));

  await sdk.finish(refused, answer);
  checkTokens(provider.saved);
}

/** One run of the program: a new connection with what `provider` has kept. */
async function use({ url, sdk, provider }) {
  const transport = sdk.transport(url, provider);
  const client = sdk.client();
  await client.connect(transport);
  check(client.getServerVersion()?.name, "connected to the MCP server", client.getServerVersion());
  checkTools((await client.listTools()).tools);
  checkUser(await client.callTool({ name: TOOL, arguments: {} }));
  await sdk.connected?.(client, transport);
  await client.close();
}

function checkAuthorizeUrl({ authorizeUrl, registered, redirectUrl }, url) {
  const sent = authorizeUrl.searchParams;
  check(authorizeUrl.origin === url.origin && authorizeUrl.pathname === "/authorize", "it opens the edge's /authorize", authorizeUrl.href);
  check(sent.get("code_challenge_method") === "S256", "with PKCE S256", [...sent.keys()]);
  check(sent.get("resource") === url.href, "for the resource it found in the metadata", sent.get("resource"));
  check(sent.get("client_id") === registered.client_id && sent.get("redirect_uri") === redirectUrl, "as the client it registered");
}

function checkTokens(tokens) {
  check(tokens?.access_token?.startsWith("sp1_at_"), "the code bought an access token of the edge", Object.keys(tokens ?? {}));
  check(tokens.token_type.toLowerCase() === "bearer" && Number.isInteger(tokens.expires_in), "Bearer, with its lifetime", tokens.expires_in);
}
