// Loaded into the conformance suite (`node --import`), which has no option for a token: every request to the origin
// $BEARER_ORIGIN gets $BEARER_TOKEN. The address, `Host` and `Origin` under test stay the suite's own.

import http from "node:http";
import { createRequire } from "node:module";

const { BEARER_ORIGIN, BEARER_TOKEN } = process.env;

// The suite's own undici, whose dispatcher also serves Node's `fetch`.
const suite = createRequire(import.meta.url).resolve("@modelcontextprotocol/conformance/package.json");
const { getGlobalDispatcher, setGlobalDispatcher } = createRequire(suite)("undici");
const withBearer = (dispatch) => (options, handler) => dispatch(added(options, options.origin), handler);
setGlobalDispatcher(getGlobalDispatcher().compose(withBearer));

// Where the spelling of headers counts, the suite uses Node's own client.
const { request } = http;
http.request = (options, ...rest) => request(added(options, `http://${options.hostname}:${options.port}`), ...rest);

/** Headers come as a flat list, as pairs, or by name. */
function added(options, origin) {
  if (String(origin) !== BEARER_ORIGIN) return options;
  const { headers } = options;
  const bearer = `Bearer ${BEARER_TOKEN}`;
  if (Array.isArray(headers)) return { ...options, headers: [...headers, "authorization", bearer] };
  if (typeof headers?.[Symbol.iterator] === "function") return { ...options, headers: [...headers, ["authorization", bearer]] };
  return { ...options, headers: { ...headers, authorization: bearer } };
}
