// What every driver needs: one line per check, the loopback receiver of a redirect, what the sample tool must answer.

import http from "node:http";
import net from "node:net";

/** The tool every driver calls. */
export const TOOL = "get_graph_user_details";

/** What several drivers may say they have shown. */
export const ANEW = "sign-in anew as the same client";
export const AT_A_401 = "refresh after a 401";
export const IN_TIME = "refresh when the token has run out";
export const WIPED = "sign-in as the same client after the store was wiped";
export const ROTATED = "no sign-in after a key rotation";

/** Prints the check; throws when it does not hold. `seen` is shown only then. */
export function check(holds, what, seen) {
  if (!holds) throw new Error(seen === undefined ? what : `${what}; seen: ${show(seen)}`);
  console.log(`ok: ${what}`);
}

/** Says, for the compatibility table, what the client has just done. */
export function shown(what) {
  console.log(`shown: ${what}`);
}

/** Runs a driver; a deviation is one clear line and exit code 1, whatever still holds the event loop. */
export async function drive(main) {
  try {
    await main();
    process.exit(0);
  } catch (error) {
    console.error(`FAILED: ${error.message}`);
    if (error.cause) console.error(`  cause: ${error.cause.message ?? error.cause}`);
    console.error(error.stack.split("\n").slice(1, 6).join("\n"));
    process.exit(1);
  }
}

/** What `tools/list` and `tools/call` must have answered, whoever asked. */
export function checkTools(tools) {
  const tool = tools.find((candidate) => candidate.name === TOOL);
  check(tool, `${TOOL} is listed`, tools.map((candidate) => candidate.name));
  check(tool.description === "Get user details from Microsoft Graph.", "with the sample's description", tool.description);
  shown("`tools/list`");
}

/** Likewise for `tools/call`, signed in as Adele. */
export function checkUser(result) {
  check(!result.isError, "the tool reports no error", result);
  const details = result.structuredContent;
  check(details?.success === true, "the structured answer says success", result);
  check(details.displayName === "Adele Vance", "and has the user's displayName", details);
  check(details.userPrincipalName === "adele@contoso.example", "and the userPrincipalName", details);
  const text = JSON.parse(result.content.find((block) => block.type === "text").text);
  check(text.success === true && text.id === details.id, "the text block is the same answer as JSON", text);
  shown("`tools/call`");
}

/**
 * A client's redirect URI on a free loopback port.
 * @returns `{ uri, received, close }`: `received` is every request as URLSearchParams
 */
export async function redirectReceiver(path = "/callback") {
  const received = [];
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, "http://127.0.0.1");
    if (url.pathname === path) received.push(url.searchParams);
    response.writeHead(url.pathname === path ? 200 : 404, { "content-type": "text/html; charset=utf-8" });
    response.end("<!doctype html><html lang=en><title>Client</title><p>The client has its answer.");
  });
  await new Promise((resolve, reject) => server.listen(0, "127.0.0.1", resolve).on("error", reject));
  const uri = `http://127.0.0.1:${server.address().port}${path}`;
  return { uri, received, close: () => server.close() };
}

/** A port nobody listened on a moment ago. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve, reject) => server.listen(0, "127.0.0.1", resolve).on("error", reject));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** For what a person or a browser waits for: a limit for what hangs. */
export const STEP_WITHIN_MS = 60_000;

/** Asks until `question` answers something true; throws with `what` after `milliseconds`. */
export async function until(what, milliseconds, question) {
  const end = Date.now() + milliseconds;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not within ${milliseconds / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** `promise`, or an error with `what` after `milliseconds`. */
export async function within(what, milliseconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${milliseconds / 1000} s: ${what}`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The only answer a redirect URI may have got: a code, from this issuer. */
export function checkCallback(received, issuer) {
  check(received.length === 1, "the client's redirect URI was called once", received.map(String));
  const [answer] = received;
  check(answer.get("code")?.startsWith("sp1_ac_"), "with a code of the edge", [...answer.keys()]);
  check(answer.get("iss") === issuer, "and the issuer (RFC 9207)", answer.get("iss"));
  return answer;
}

function show(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
