// The official TypeScript SDK, line 1. Usage: ts-sdk-1.mjs MCP_URL http|sse [STAGE FOLDER]

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { check, drive } from "./checks.mjs";
import { journey } from "./sdk-journey.mjs";

const [url, kind, stage, folder] = process.argv.slice(2);
const Transport = { http: StreamableHTTPClientTransport, sse: SSEClientTransport }[kind];

const sdk = {
  transport: (at, authProvider) => new Transport(at, { authProvider }),
  client: () => new Client({ name: "client-test", version: "1.0.0" }),
  finish: (transport, answer) => transport.finishAuth(answer.get("code")),
  connected: kind === "http" ? endSession : undefined,
};

drive(() => journey(new URL(url), sdk, stage, folder));

async function endSession(client, transport) {
  check(transport.sessionId?.startsWith("sp1_ms_"), "the MCP session id is sealed by the edge", transport.sessionId);
  await transport.terminateSession();
  check(transport.sessionId === undefined, "DELETE ends the session", transport.sessionId);
}
