// A client made by hand, for drivers that look at the pages rather than at an SDK.

import { createHash, randomBytes } from "node:crypto";
import { Browser, send } from "./browser.mjs";
import { check, redirectReceiver } from "./checks.mjs";

/** Registers a public client; answers its client_id. */
export async function register(mcpUrl, name, redirectUri) {
  const clientId = await registered(mcpUrl, name, redirectUri);
  check(clientId, `${name} registers`);
  return clientId;
}

/** The same, quietly. */
export async function registered(mcpUrl, name, redirectUri) {
  const body = JSON.stringify({ client_name: name, redirect_uris: [redirectUri], token_endpoint_auth_method: "none" });
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const answer = await send(new URL("/register", mcpUrl), { method: "POST", headers }, body);
  if (answer.status !== 201) throw new Error(`${JSON.stringify(name)} is not registered: ${answer.status} ${answer.text}`);
  return JSON.parse(answer.text).client_id;
}

export const newVerifier = () => randomBytes(32).toString("base64url");

/** Where that client sends its user. */
export function authorizeUrl(mcpUrl, clientId, redirectUri, state, verifier = newVerifier()) {
  const url = new URL("/authorize", mcpUrl);
  url.search = new URLSearchParams({
    response_type: "code",
    client_id: clientId,
    redirect_uri: redirectUri,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
    state,
    resource: mcpUrl.href,
  });
  return url;
}

/** Sends a form as a public client does; answers `{ status, headers, text }`. */
export function post(mcpUrl, path, fields) {
  const body = new URLSearchParams(fields).toString();
  const headers = { "content-type": "application/x-www-form-urlencoded", "content-length": Buffer.byteLength(body) };
  return send(new URL(path, mcpUrl), { method: "POST", headers }, body);
}

/** A client of its own, signed in as Adele; answers `{ clientId, tokens }`, the latter as `/token` gave them. */
export async function signedIn(mcpUrl, name) {
  const redirect = await redirectReceiver();
  const clientId = await register(mcpUrl, name, redirect.uri);
  const verifier = newVerifier();
  await new Browser().signIn(authorizeUrl(mcpUrl, clientId, redirect.uri, name, verifier));
  redirect.close();
  const answer = await post(mcpUrl, "/token", {
    grant_type: "authorization_code",
    client_id: clientId,
    redirect_uri: redirect.uri,
    code: redirect.received[0].get("code"),
    code_verifier: verifier,
    resource: mcpUrl.href,
  });
  check(answer.status === 200, "the code buys tokens", `${answer.status} ${answer.text}`);
  return { clientId, tokens: JSON.parse(answer.text) };
}
