// Decrypt and look up: the token is opened, the session found, the call relayed.
//
// warm: sessions that the edge has at hand. cold: each session's first call, which asks the store. mixed: by Zipf.

import { check } from "k6";
import { Trend } from "k6/metrics";
import { isResult, listTools } from "./lib/mcp.js";
import { newSessions, unevenly } from "./lib/sessions.js";
import { DROPPED, DURATION, SECONDS, milliseconds, whole } from "./lib/settings.js";

const RATE = whole("RATE", 100);
const SESSIONS = whole("SESSIONS", 100);
const VUS = whole("VUS", 50);

const warm = new Trend("warm_ms", true);
const cold = new Trend("cold_ms", true);
const mixed = new Trend("mixed_ms", true);

/** @param {string} exec @param {number} after */
const atRate = (exec, after) => ({
  executor: "constant-arrival-rate",
  exec,
  startTime: `${after}s`,
  rate: RATE,
  timeUnit: "1s",
  duration: DURATION,
  preAllocatedVUs: VUS,
});

export const options = {
  setupTimeout: "300s",
  scenarios: {
    // One caller: what is measured is the look-up, not a queue.
    cold: { executor: "shared-iterations", exec: "callCold", vus: 1, iterations: SESSIONS, maxDuration: DURATION },
    warm: atRate("callWarm", SECONDS),
    mixed: atRate("callMixed", 2 * SECONDS),
  },
  thresholds: {
    checks: ["rate==1"],
    http_req_failed: ["rate==0"],
    dropped_iterations: [`count<=${DROPPED}`],
    warm_ms: [`p(99)<${milliseconds("WARM_P99_MS", 50)}`],
    cold_ms: [`p(99)<${milliseconds("COLD_P99_MS", 100)}`],
    mixed_ms: [`p(99)<${milliseconds("MIXED_P99_MS", 50)}`],
  },
};

export function setup() {
  return { sessions: newSessions(SESSIONS) };
}

let next = 0;

/** @param {{ sessions: string[] }} data */
export function callCold({ sessions }) {
  call(sessions[next], cold);
  next += 1;
}

/** @param {{ sessions: string[] }} data */
export function callWarm({ sessions }) {
  call(sessions[0], warm);
}

/** @param {{ sessions: string[] }} data */
export function callMixed({ sessions }) {
  call(unevenly(sessions), mixed);
}

/** @param {string} token @param {Trend} times */
function call(token, times) {
  const answer = listTools(token);
  check(answer, { "a result": isResult });
  times.add(answer.timings.duration);
}
