// The drivers by name: whose client it is, the program that drives it.

import { pinned } from "./pins.mjs";

const { PYTHON_FASTMCP, PYTHON_MCP_1, PYTHON_MCP_2 } = process.env;
const HTTP = "/mcp";
const SSE = "/mcp/sse";

const TYPESCRIPT_1 = { name: "TypeScript SDK, line 1", package: "@modelcontextprotocol/sdk" };
const TYPESCRIPT_2 = { name: "TypeScript SDK, line 2", package: "@modelcontextprotocol/client" };
const PYTHON_1 = { name: "Python SDK, line 1", package: "mcp", requirements: "requirements-mcp-1.txt" };
const PYTHON_2 = { name: "Python SDK, line 2", package: "mcp", requirements: "requirements-mcp-2.txt" };
const FASTMCP = { name: "FastMCP client", package: "fastmcp", requirements: "requirements-fastmcp.txt" };
const MCP_REMOTE = { name: "mcp-remote", package: "mcp-remote" };
const INSPECTOR_CLI = { name: "MCP Inspector, command line", package: "@modelcontextprotocol/inspector" };
const INSPECTOR_WEB = { name: "MCP Inspector, web page", package: "@modelcontextprotocol/inspector" };
const CONFORMANCE = { name: "MCP conformance suite, `authorization`", package: "@modelcontextprotocol/conformance" };
const CONFORMANCE_SERVER = { name: "MCP conformance suite, `server`", package: "@modelcontextprotocol/conformance" };

const STREAMABLE = "Streamable HTTP";
const STATELESS = "Streamable HTTP, protocol of 2026-07-28";
const LEGACY = "HTTP+SSE";

/**
 * Name to driver. `client` and `transport` are for the compatibility table and absent where no client is shown;
 * one that `survives` runs stage by stage against an edge that loses its store and whose key ring is rotated; one with
 * `fixtures` at an edge whose server is what the conformance suite wants to see. One with `admin` also gets the admin listener's origin.
 */
export const DRIVERS = {
  "typescript-1-http": { client: TYPESCRIPT_1, transport: STREAMABLE, ...node("ts-sdk-1.mjs", HTTP, "http") },
  "typescript-1-sse": { client: TYPESCRIPT_1, transport: LEGACY, ...node("ts-sdk-1.mjs", SSE, "sse") },
  "typescript-2-http": { client: TYPESCRIPT_2, transport: STREAMABLE, ...node("ts-sdk-2.mjs", HTTP, "http") },
  "typescript-2-http-auto": { client: TYPESCRIPT_2, transport: STATELESS, ...node("ts-sdk-2.mjs", HTTP, "http-auto") },
  "typescript-2-sse": { client: TYPESCRIPT_2, transport: LEGACY, ...node("ts-sdk-2.mjs", SSE, "sse") },
  "python-1-http": { client: PYTHON_1, transport: STREAMABLE, ...python(PYTHON_MCP_1, "python_sdk_1.py", HTTP, "http") },
  "python-1-sse": { client: PYTHON_1, transport: LEGACY, ...python(PYTHON_MCP_1, "python_sdk_1.py", SSE, "sse") },
  "python-2-http": { client: PYTHON_2, transport: STATELESS, ...python(PYTHON_MCP_2, "python_sdk_2.py", HTTP, "http") },
  "python-2-http-legacy": { client: PYTHON_2, transport: STREAMABLE, ...python(PYTHON_MCP_2, "python_sdk_2.py", HTTP, "http-legacy") },
  "python-2-sse": { client: PYTHON_2, transport: LEGACY, ...python(PYTHON_MCP_2, "python_sdk_2.py", SSE, "sse") },
  "fastmcp-http": { client: FASTMCP, transport: STATELESS, ...python(PYTHON_FASTMCP, "fastmcp_client.py", HTTP, "http") },
  "fastmcp-sse": { client: FASTMCP, transport: LEGACY, ...python(PYTHON_FASTMCP, "fastmcp_client.py", SSE, "sse") },
  "mcp-remote-http": { client: MCP_REMOTE, transport: STREAMABLE, ...node("mcp-remote.mjs", HTTP, "http") },
  "mcp-remote-sse": { client: MCP_REMOTE, transport: LEGACY, ...node("mcp-remote.mjs", SSE, "sse") },
  "inspector-cli-http": { client: INSPECTOR_CLI, transport: STREAMABLE, ...node("inspector-cli.mjs", HTTP, "http") },
  "inspector-cli-http-auto": { client: INSPECTOR_CLI, transport: STATELESS, ...node("inspector-cli.mjs", HTTP, "http-auto") },
  "inspector-cli-sse": { client: INSPECTOR_CLI, transport: LEGACY, ...node("inspector-cli.mjs", SSE, "sse") },
  "inspector-web-http": { client: INSPECTOR_WEB, transport: STREAMABLE, ...node("inspector-web.mjs", HTTP, "http") },
  "inspector-web-sse": { client: INSPECTOR_WEB, transport: LEGACY, ...node("inspector-web.mjs", SSE, "sse") },
  conformance: { client: CONFORMANCE, transport: "OAuth only", ...node("conformance.mjs", HTTP) },
  "conformance-server": { client: CONFORMANCE_SERVER, transport: "Streamable HTTP, both protocols", fixtures: true, ...node("conformance-server.mjs", HTTP) },
  refresh: node("refresh.mjs", HTTP),
  "consent-page": node("consent-page.mjs", HTTP),
  connections: node("connections.mjs", HTTP),
  "hostile-names": node("hostile-names.mjs", HTTP),
  tabs: node("tabs.mjs", HTTP),
  redirects: node("redirects.mjs", HTTP),
  takeover: node("takeover.mjs", HTTP),
  load: node("load.mjs", HTTP),
  "status-page": { admin: true, ...node("status-page.mjs", HTTP) },
  "typescript-1-survives": { client: TYPESCRIPT_1, transport: STREAMABLE, survives: true, ...node("ts-sdk-1.mjs", HTTP, "http") },
  "typescript-2-survives": { client: TYPESCRIPT_2, transport: STREAMABLE, survives: true, ...node("ts-sdk-2.mjs", HTTP, "http") },
  "python-1-survives": { client: PYTHON_1, transport: STREAMABLE, survives: true, ...python(PYTHON_MCP_1, "python_sdk_1.py", HTTP, "http") },
  "python-2-survives": { client: PYTHON_2, transport: STATELESS, survives: true, ...python(PYTHON_MCP_2, "python_sdk_2.py", HTTP, "http") },
  "fastmcp-survives": { client: FASTMCP, transport: STATELESS, survives: true, ...python(PYTHON_FASTMCP, "fastmcp_client.py", HTTP, "http") },
  "mcp-remote-survives": { client: MCP_REMOTE, transport: STREAMABLE, survives: true, ...node("mcp-remote.mjs", HTTP, "http") },
  "inspector-cli-survives": { client: INSPECTOR_CLI, transport: STREAMABLE, survives: true, ...node("inspector-cli.mjs", HTTP, "http") },
};

/** Every client the drivers show, once, with the version its pin says. */
export function clients() {
  const all = new Set(Object.values(DRIVERS).flatMap(({ client }) => client ?? []));
  return [...all].map((client) => ({ ...client, version: pinned(client) }));
}

function node(file, path, ...rest) {
  return { program: process.execPath, file, path, rest };
}

function python(program, file, path, ...rest) {
  return { program, file, path, rest };
}
