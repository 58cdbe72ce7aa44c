// The call that all scripts repeat: tools/list of the 2026-07-28 revision, which needs no session of MCP's.

import http from "k6/http";
import { MCP } from "./settings.js";

const BODY = JSON.stringify({
  jsonrpc: "2.0",
  id: 1,
  method: "tools/list",
  params: {
    _meta: {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientInfo": { name: "k6", version: "1" },
      "io.modelcontextprotocol/clientCapabilities": {},
    },
  },
});

/** @type {Record<string, string>} */
const HEADERS = {
  accept: "application/json, text/event-stream",
  "content-type": "application/json",
  "mcp-protocol-version": "2026-07-28",
  "mcp-method": "tools/list",
};

/** @param {string | null} token @param {number} expected the status that is no failure */
export function listTools(token, expected = 200) {
  const headers = token === null ? HEADERS : { ...HEADERS, authorization: `Bearer ${token}` };
  return http.post(MCP, BODY, { headers, redirects: 0, responseCallback: http.expectedStatuses(expected) });
}

/** Whether it is a result: a JSON-RPC error comes with 200 too. @param {{ status: number, body: unknown }} answer */
export function isResult(answer) {
  return answer.status === 200 && String(answer.body).includes('"result"');
}
