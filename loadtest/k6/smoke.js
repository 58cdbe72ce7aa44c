// Does it work at all? One client finds the edge, is refused, signs in and calls.

import http from "k6/http";
import { check, group } from "k6";
import { isResult, listTools } from "./lib/mcp.js";
import { EDGE } from "./lib/settings.js";
import { trySignIn } from "./lib/sign-in.js";

export const options = {
  vus: 1,
  iterations: 1,
  thresholds: { checks: ["rate==1"], http_req_failed: ["rate==0"] },
};

export default function () {
  group("discovery", () => {
    const metadata = http.get(`${EDGE}/.well-known/oauth-authorization-server`);
    check(metadata, { "the issuer is the edge": (answer) => answer.json("issuer") === EDGE });
  });
  group("no token", () => {
    const refused = listTools(null, 401);
    check(refused, {
      "401": (answer) => answer.status === 401,
      "with a challenge": (answer) => (answer.headers["Www-Authenticate"] ?? "").includes("resource_metadata"),
    });
  });
  group("signed in", () => {
    check(listTools(trySignIn()), { "tools are listed": isResult });
  });
}
