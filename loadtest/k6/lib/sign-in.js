// The whole sign-in of an MCP client at an edge whose Entra is the stand-in.
//
// k6 keeps Secure cookies away from http://localhost, where browsers send them: they are kept here instead.

import crypto from "k6/crypto";
import encoding from "k6/encoding";
import http from "k6/http";
import { formWith, refresh } from "./page.js";
import { EDGE, MCP, USER } from "./settings.js";

/** Nobody listens there: the sign-in stops before it. */
const REDIRECT_URI = "http://127.0.0.1:33418/callback";
/** A sign-in has about eight. */
const MOST_PAGES = 20;

/** Signs in as a new client; throws when a step is not answered as it must be. @returns {string} an access token */
export function signIn() {
  const clientId = register();
  const verifier = encoding.b64encode(crypto.randomBytes(32), "rawurl");
  const code = authorize(clientId, crypto.sha256(verifier, "base64rawurl"));
  const answer = http.post(`${EDGE}/token`, {
    grant_type: "authorization_code",
    client_id: clientId,
    redirect_uri: REDIRECT_URI,
    code,
    code_verifier: verifier,
    resource: MCP,
  });
  return field(answer, 200, "access_token");
}

/** The same within an iteration, where an exception would be a line in the log and no failed check. @returns {string | null} */
export function trySignIn() {
  try {
    return signIn();
  } catch (error) {
    console.error(String(error));
    return null;
  }
}

function register() {
  const body = JSON.stringify({ client_name: "k6", redirect_uris: [REDIRECT_URI], token_endpoint_auth_method: "none" });
  const answer = http.post(`${EDGE}/register`, body, {
    headers: { "content-type": "application/json" },
    responseCallback: http.expectedStatuses(201),
  });
  return field(answer, 201, "client_id");
}

/** @param {string} clientId @param {string} challenge @returns {string} the code */
function authorize(clientId, challenge) {
  /** @type {Record<string, string>} */
  const query = {
    response_type: "code",
    client_id: clientId,
    redirect_uri: REDIRECT_URI,
    code_challenge: challenge,
    code_challenge_method: "S256",
    state: encoding.b64encode(crypto.randomBytes(16), "rawurl"),
    resource: MCP,
  };
  const pairs = Object.keys(query).map((name) => `${name}=${encodeURIComponent(query[name])}`);
  const browser = new Browser();
  browser.get(`${EDGE}/authorize?${pairs.join("&")}`);
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const next = browser.leadsTo();
    if (next !== null && next.startsWith(`${REDIRECT_URI}?`)) return codeOf(next);
    if (next !== null) browser.get(next);
    else if (!browser.press("decision", "allow") && !browser.press("user", USER)) throw new Error(`no way on: status ${browser.status}`);
  }
  throw new Error("the sign-in does not end");
}

/** @param {string} url */
function codeOf(url) {
  const found = /[?&]code=([^&]+)/.exec(url);
  if (!found) throw new Error("the client got no code");
  return decodeURIComponent(found[1]);
}

/** @param {import("k6/http").RefinedResponse<any>} answer @param {number} status @param {string} name */
function field(answer, status, name) {
  if (answer.status !== status) throw new Error(`${name}: status ${answer.status} instead of ${status}`);
  return String(answer.json(name));
}

class Browser {
  /** By origin without its port, as browsers keep them. @type {Record<string, Record<string, string>>} */
  cookies = {};
  at = "";
  status = 0;
  body = "";
  /** @type {string | null} */
  location = null;

  /** @param {string} url */
  get(url) {
    this.show(absolute(url, this.at), null);
  }

  /** Whether the page has the button, which is then pressed. @param {string} name @param {string} value */
  press(name, value) {
    const form = formWith(this.body, name, value);
    if (form) this.show(absolute(form.action, this.at), form.fields);
    return form !== null;
  }

  leadsTo() {
    return this.location ?? refresh(this.body);
  }

  /** @param {string} url @param {Record<string, string> | null} fields */
  show(url, fields) {
    const host = hostOf(url);
    const params = {
      redirects: 0,
      jar: new http.CookieJar(),
      cookies: this.cookies[host] ?? {},
      headers: { accept: "text/html", origin: originOf(url), "sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" },
      responseCallback: http.expectedStatuses({ min: 200, max: 399 }),
    };
    const answer = fields === null ? http.get(url, params) : http.post(url, fields, params);
    const jar = (this.cookies[host] ??= {});
    for (const name of Object.keys(answer.cookies))
      for (const cookie of answer.cookies[name]) {
        if (cookie.value === "") delete jar[name];
        else jar[name] = cookie.value;
      }
    this.at = url;
    this.status = answer.status;
    this.body = String(answer.body);
    const redirect = answer.status >= 300 && answer.status < 400;
    this.location = redirect ? (answer.headers.Location ?? null) : null;
  }
}

/** @param {string} url */
function originOf(url) {
  const found = /^https?:\/\/[^/]+/.exec(url);
  if (!found) throw new Error("that is no address");
  return found[0];
}

/** @param {string} url */
function hostOf(url) {
  return originOf(url).replace(/:\d+$/, "");
}

/** @param {string} reference @param {string} base */
function absolute(reference, base) {
  return reference.startsWith("/") ? originOf(base) + reference : reference;
}
