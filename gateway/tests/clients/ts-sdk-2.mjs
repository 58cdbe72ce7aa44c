// The official TypeScript SDK, line 2. Usage: ts-sdk-2.mjs MCP_URL http|http-auto|http-refresh|sse
// `http-auto` probes for the protocol of 2026-07-28 first, the others speak the older handshake.

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { TOOL, check, checkUser, drive, shown } from "./checks.mjs";
import { journey } from "./sdk-journey.mjs";

const [url, kind] = process.argv.slice(2);
const Transport = kind === "sse" ? SSEClientTransport : StreamableHTTPClientTransport;
const mode = kind === "http-auto" ? "auto" : "legacy";

drive(() =>
  journey(new URL(url), {
    transport: (at, authProvider) => new Transport(at, { authProvider }),
    client: () => new Client({ name: "client-test", version: "2.0.0" }, { versionNegotiation: { mode } }),
    finish: (transport, answer) => transport.finishAuth(answer),
    connected: kind === "http-refresh" ? refresh : checkEra,
  }),
);

async function checkEra(client, transport) {
  const version = client.getNegotiatedProtocolVersion();
  if (kind === "http-auto") check(version === "2026-07-28", "both sides speak the stateless protocol", version);
  else check(version < "2026", "both sides speak the older protocol", version);
  if (kind === "http") check(transport.sessionId?.startsWith("sp1_ms_"), "the MCP session id is sealed by the edge", transport.sessionId);
}

/** With a spoilt access token the next call is refused; the SDK must help itself with the refresh token. */
async function refresh(client, _, provider) {
  const before = provider.saved;
  const asked = provider.authorizeUrl;
  provider.saved = { ...before, access_token: "sp1_at_spoilt" };
  checkUser(await client.callTool({ name: TOOL, arguments: {} }));
  const { access_token: access, refresh_token: next } = provider.saved;
  check(access.startsWith("sp1_at_") && ![before.access_token, "sp1_at_spoilt"].includes(access), "it got a new access token");
  check(next?.startsWith("sp1_rt_") && next !== before.refresh_token, "and the next refresh token");
  check(provider.authorizeUrl === asked, "without a sign-in");
  shown("refresh after a 401");
}
