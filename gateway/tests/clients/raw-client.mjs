// A client made by hand, for drivers that look at the pages rather than at an SDK.

import { createHash, randomBytes } from "node:crypto";
import { send } from "./browser.mjs";
import { check } from "./checks.mjs";

/** Registers a public client; answers its client_id. */
export async function register(mcpUrl, name, redirectUri) {
  const body = JSON.stringify({ client_name: name, redirect_uris: [redirectUri], token_endpoint_auth_method: "none" });
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const answer = await send(new URL("/register", mcpUrl), { method: "POST", headers }, body);
  check(answer.status === 201, `${name} registers`, `${answer.status} ${answer.text}`);
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

/** Redeems a code; answers the access token. */
export async function redeem(mcpUrl, clientId, redirectUri, code, verifier) {
  const body = new URLSearchParams({
    grant_type: "authorization_code",
    client_id: clientId,
    redirect_uri: redirectUri,
    code,
    code_verifier: verifier,
    resource: mcpUrl.href,
  }).toString();
  const headers = { "content-type": "application/x-www-form-urlencoded", "content-length": Buffer.byteLength(body) };
  const answer = await send(new URL("/token", mcpUrl), { method: "POST", headers }, body);
  check(answer.status === 200, "the code buys a token", `${answer.status} ${answer.text}`);
  return JSON.parse(answer.text).access_token;
}
