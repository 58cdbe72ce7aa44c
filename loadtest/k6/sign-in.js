// Sign-ins: registration, consent, the stand-in's pages, callback, token.

import { check } from "k6";
import { Counter, Trend } from "k6/metrics";
import { isResult, listTools } from "./lib/mcp.js";
import { DURATION, milliseconds, whole } from "./lib/settings.js";
import { trySignIn } from "./lib/sign-in.js";

const took = new Trend("sign_in_ms", true);
const signedIn = new Counter("sign_ins");

export const options = {
  scenarios: { sign_ins: { executor: "constant-vus", vus: whole("VUS", 4), duration: DURATION } },
  thresholds: {
    checks: ["rate==1"],
    http_req_failed: ["rate==0"],
    sign_ins: ["count>0"],
    sign_in_ms: [`p(95)<${milliseconds("SIGN_IN_P95_MS", 2000)}`],
  },
};

export default function () {
  const begun = Date.now();
  const token = trySignIn();
  check(token, { "signed in": (token) => token !== null });
  if (token === null) return;
  took.add(Date.now() - begun);
  signedIn.add(1);
  check(listTools(token), { "the token is good": isResult });
}
