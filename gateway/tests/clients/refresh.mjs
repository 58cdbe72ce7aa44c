// A client made by hand that stays signed in, loses an answer, and signs out. Usage: refresh.mjs MCP_URL

import { send } from "./browser.mjs";
import { check, drive } from "./checks.mjs";
import { post, signedIn } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);

drive(async () => {
  const { clientId, tokens: first } = await signedIn(mcpUrl, "Refresh");
  check(first.refresh_token?.startsWith("sp1_rt_"), "the sign-in brings a refresh token", Object.keys(first));
  check((await initialize(first)) === 200, "its access token works");

  const second = await refreshed(clientId, first);
  check(second.access_token !== first.access_token && (await initialize(second)) === 200, "a refresh brings an access token that works");
  check(second.refresh_token?.startsWith("sp1_rt_") && second.refresh_token !== first.refresh_token, "and the next refresh token");

  // The client never got that answer and asks again (D7).
  const again = await refreshed(clientId, first);
  check(again.refresh_token === second.refresh_token, "the former refresh token, used again at once, brings the same successor");
  check((await initialize(again)) === 200 && (await initialize(second)) === 200, "and either access token works");

  const third = await refreshed(clientId, second);
  check((await initialize(third)) === 200, "the successor refreshes in its turn");

  const revoked = await post(mcpUrl, "/revoke", { client_id: clientId, token: third.refresh_token, token_type_hint: "refresh_token" });
  check(revoked.status === 200, "/revoke answers 200", `${revoked.status} ${revoked.text}`);
  for (const [which, tokens] of Object.entries({ first, second, third }))
    check((await initialize(tokens)) === 401, `then the ${which} access token is refused with 401`);
  const refused = await refresh(clientId, third);
  check(refused.status === 400 && JSON.parse(refused.text).error === "invalid_grant", "and the refresh token with invalid_grant", `${refused.status} ${refused.text}`);
  const unknown = await post(mcpUrl, "/revoke", { client_id: clientId, token: "sp1_rt_nothing" });
  check(unknown.status === 200, "a token nobody knows counts as revoked (RFC 7009, 2.2)", `${unknown.status} ${unknown.text}`);
});

function refresh(clientId, { refresh_token: token }) {
  return post(mcpUrl, "/token", { grant_type: "refresh_token", client_id: clientId, refresh_token: token, resource: mcpUrl.href });
}

async function refreshed(clientId, tokens) {
  const answer = await refresh(clientId, tokens);
  check(answer.status === 200, "/token answers 200 to the refresh token", `${answer.status} ${answer.text}`);
  return JSON.parse(answer.text);
}

/** The status that an `initialize` with this access token meets. */
async function initialize({ access_token: token }) {
  const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "refresh", version: "1.0.0" } };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params });
  const headers = {
    authorization: `Bearer ${token}`,
    accept: "application/json, text/event-stream",
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
  };
  return (await send(mcpUrl, { method: "POST", headers }, body)).status;
}
