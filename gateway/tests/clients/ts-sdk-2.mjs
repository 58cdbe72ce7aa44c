// The official TypeScript SDK, line 2. Usage: ts-sdk-2.mjs MCP_URL http|http-auto|sse [STAGE FOLDER]
// `http-auto` probes for the protocol of 2026-07-28 first, the others speak the older handshake.

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { check, drive } from "./checks.mjs";
import { journey } from "./sdk-journey.mjs";

const [url, kind, stage, folder] = process.argv.slice(2);
const Transport = kind === "sse" ? SSEClientTransport : StreamableHTTPClientTransport;
const mode = kind === "http-auto" ? "auto" : "legacy";

const sdk = {
  transport: (at, authProvider) => new Transport(at, { authProvider }),
  client: () => new Client({ name: "client-test", version: "2.0.0" }, { versionNegotiation: { mode } }),
  finish: (transport, answer) => transport.finishAuth(answer),
  connected: checkEra,
};

drive(() => journey(new URL(url), sdk, stage, folder));

async function checkEra(client, transport) {
  const version = client.getNegotiatedProtocolVersion();
  if (kind === "http-auto") check(version === "2026-07-28", "both sides speak the stateless protocol", version);
  else check(version < "2026", "both sides speak the older protocol", version);
  if (kind === "http") check(transport.sessionId?.startsWith("sp1_ms_"), "the MCP session id is sealed by the edge", transport.sessionId);
}
