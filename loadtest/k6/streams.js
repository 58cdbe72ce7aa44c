// Long event streams, as far as k6 can: it shows a body only when it ends, so a stream that is still open at the time limit
// is a good one, and one that ended before was cut. Events and their delay are `loadtest streams`' business.

import http from "k6/http";
import { check } from "k6";
import { Counter } from "k6/metrics";
import { MCP, whole } from "./lib/settings.js";
import { signIn } from "./lib/sign-in.js";

/** k6's code for a request whose time ran out. */
const TIMED_OUT = 1050;
const HOLD = whole("HOLD_SECONDS", 30);
const STREAMS = whole("STREAMS", 20);

const held = new Counter("streams_held");
const cut = new Counter("streams_cut");

export const options = {
  scenarios: {
    streams: { executor: "shared-iterations", vus: STREAMS, iterations: STREAMS, maxDuration: `${HOLD + 30}s` },
  },
  // Not http_req_failed: to k6 each of these requests has failed.
  thresholds: { checks: ["rate==1"], streams_held: [`count==${STREAMS}`], streams_cut: ["count==0"] },
};

export function setup() {
  return { token: signIn() };
}

/** @param {{ token: string }} data */
export default function ({ token }) {
  const answer = http.get(`${MCP}/sse`, {
    headers: { accept: "text/event-stream", authorization: `Bearer ${token}` },
    timeout: `${HOLD}s`,
  });
  const lasted = check(answer, { "the stream lasts": ({ error_code }) => error_code === TIMED_OUT });
  held.add(lasted ? 1 : 0);
  cut.add(lasted ? 0 : 1);
}
