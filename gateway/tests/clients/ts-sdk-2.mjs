// The official TypeScript SDK, line 2. Usage: ts-sdk-2.mjs MCP_URL http|http-auto|sse
// `http-auto` probes for the protocol of 2026-07-28 first, `http` and `sse` speak the older handshake.

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { check, drive } from "./checks.mjs";
import { journey } from "./sdk-journey.mjs";

const [url, kind] = process.argv.slice(2);
const Transport = { http: StreamableHTTPClientTransport, "http-auto": StreamableHTTPClientTransport, sse: SSEClientTransport }[kind];
const mode = kind === "http-auto" ? "auto" : "legacy";

drive(() =>
  journey(new URL(url), {
    transport: (at, authProvider) => new Transport(at, { authProvider }),
    client: () => new Client({ name: "client-test", version: "2.0.0" }, { versionNegotiation: { mode } }),
    finish: (transport, answer) => transport.finishAuth(answer),
    connected: checkEra,
  }),
);

async function checkEra(client, transport) {
  const version = client.getNegotiatedProtocolVersion();
  if (kind === "http-auto") check(version === "2026-07-28", "both sides speak the stateless protocol", version);
  else check(version < "2026", "both sides speak the older protocol", version);
  if (kind === "http") check(transport.sessionId?.startsWith("sp1_ms_"), "the MCP session id is sealed by the edge", transport.sessionId);
}
