// Good, forged and expired tokens at a rate. EXPIRED names a file with one expired token a line; without it there are none.

import { check } from "k6";
import { Trend } from "k6/metrics";
import { isResult, listTools } from "./lib/mcp.js";
import { forged, tokensIn } from "./lib/sessions.js";
import { DROPPED, DURATION, EXPIRED, SECONDS, milliseconds, whole } from "./lib/settings.js";
import { signIn } from "./lib/sign-in.js";

const expired = EXPIRED === null ? [] : tokensIn(open(EXPIRED), "EXPIRED");
const RATE = whole("RATE", 100);

const refusal = new Trend("refusal_ms", true);
const valid = new Trend("valid_ms", true);

/** @param {string} exec @param {number} turn */
const atRate = (exec, turn) => ({
  executor: "constant-arrival-rate",
  exec,
  startTime: `${turn * SECONDS}s`,
  rate: RATE,
  timeUnit: "1s",
  duration: DURATION,
  preAllocatedVUs: whole("VUS", 50),
});

export const options = {
  scenarios: {
    valid: atRate("sendValid", 0),
    forged: atRate("sendForged", 1),
    ...(expired.length > 0 ? { expired: atRate("sendExpired", 2) } : {}),
  },
  thresholds: {
    checks: ["rate==1"],
    http_req_failed: ["rate==0"],
    dropped_iterations: [`count<=${DROPPED}`],
    valid_ms: [`p(99)<${milliseconds("VALID_P99_MS", 50)}`],
    refusal_ms: [`p(99)<${milliseconds("REFUSAL_P99_MS", 30)}`],
  },
};

export function setup() {
  return { token: signIn() };
}

/** @param {{ token: string }} data */
export function sendValid({ token }) {
  const answer = listTools(token);
  check(answer, { "a good token is served": isResult });
  valid.add(answer.timings.duration);
}

/** @param {{ token: string }} data */
export function sendForged({ token }) {
  refuse(forged(token));
}

export function sendExpired() {
  refuse(expired[Math.floor(Math.random() * expired.length)]);
}

/** @param {string} token */
function refuse(token) {
  const answer = listTools(token, 401);
  check(answer, { "a bad token gets 401": ({ status }) => status === 401 });
  refusal.add(answer.timings.duration);
}
