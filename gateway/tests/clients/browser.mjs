// A browser of plain requests: one cookie jar, redirects, forms, links and meta refresh. No script, no picture.
//
// It keeps the rules that matter to a login: `__Host-` and Secure cookies (loopback counts as secure, as in Chromium),
// SameSite, `Origin` and Fetch-Metadata headers, "no Referrer means Origin: null". Neighbours: `html.mjs` reads pages,
// the drivers hold the clients. Chromium does the same journey in `inspector-web.mjs` and `consent-page.mjs`.

import http from "node:http";
import https from "node:https";
import { parsePage } from "./html.mjs";

const HOPS = 20;
const ANSWER_WITHIN_MS = 60_000;

/** Whom the stand-in for Entra signs in unless a driver says otherwise. */
export const USER = "adele@contoso.example";

export class Browser {
  /** Name to `{ value, host, sameSite }`; one jar is one person at one machine. */
  #cookies = new Map();
  /** Every request so far: `{ method, url, status }`. */
  history = [];

  /**
   * Loads `url` and follows redirects.
   * @param {string|URL} url
   * @param {{stopBefore?: (url: URL) => boolean}} [options] `stopBefore` leaves a URL unrequested: the page is then `{ stopped: URL }`.
   */
  async open(url, options = {}) {
    return this.#load({ method: "GET", url: new URL(url), from: null }, options);
  }

  /** Sends `form` of `page` as if its button `{ name, value }` had been pressed. */
  async press(page, form, button, options = {}) {
    const action = new URL(form.action || page.url, page.url);
    const fields = new URLSearchParams(form.fields);
    if (button.name) fields.append(button.name, button.value);
    if (form.method !== "post") {
      action.search = fields.toString();
      return this.#load({ method: "GET", url: action, from: page }, options);
    }
    return this.#load({ method: "POST", url: action, from: page, body: fields.toString() }, options);
  }

  /** Follows what `page` says to load next. */
  async follow(page, target, options = {}) {
    return this.#load({ method: "GET", url: new URL(target, page.url), from: page }, options);
  }

  /**
   * The whole sign-in, from a client's authorization URL to the page its redirect URI answers: consent, interstitial,
   * the account picker. Throws when a page is none of these and is not the last one.
   * @returns {Promise<object>} the last page, or `{ stopped }`
   */
  async signIn(authorizeUrl, { user = USER, decision = "allow", remember = false, stopBefore } = {}) {
    const options = { stopBefore };
    let page = await this.open(authorizeUrl, options);
    for (let step = 0; step < HOPS; step += 1) {
      const next = page.stopped ? null : this.#step(page, { user, decision, remember, options });
      if (!next) return page;
      page = await next;
    }
    throw new Error(`the sign-in did not end after ${HOPS} pages; the last was ${page.url}`);
  }

  #step(page, { user, decision, remember, options }) {
    const consent = page.formWith("decision", decision);
    if (consent) {
      if (remember) consent.form.tick("remember");
      return this.press(page, consent.form, consent.button, options);
    }
    const account = page.formWith("user", user);
    if (account) return this.press(page, account.form, account.button, options);
    if (page.refresh === null) return null;
    // A person without meta refresh must get on too.
    const link = page.links.find((href) => new URL(href, page.url).href === new URL(page.refresh, page.url).href);
    if (!link) throw new Error(`${page.url} goes on by itself but shows no link to ${page.refresh}`);
    return this.follow(page, page.refresh, options);
  }

  async #load({ method, url, from, body }, { stopBefore }) {
    let crossSite = from !== null && siteOf(from.url) !== siteOf(url);
    for (let hop = 0; hop < HOPS; hop += 1) {
      if (stopBefore?.(url)) return { stopped: url };
      const answer = await this.#request({ method, url, from, body, crossSite });
      this.history.push({ method, url: url.href, status: answer.status });
      this.#keep(url, answer.headers["set-cookie"] ?? []);
      const location = answer.headers.location;
      if (answer.status < 300 || answer.status > 399 || !location) return parsePage(url, answer);
      const target = new URL(location, url);
      crossSite ||= from !== null && siteOf(target) !== siteOf(url);
      url = target;
      if (answer.status < 307) [method, body] = ["GET", undefined];
    }
    throw new Error(`more than ${HOPS} redirects, the last to ${url}`);
  }

  #request({ method, url, from, body, crossSite }) {
    const site = from === null ? "none" : crossSite ? "cross-site" : from.url.origin === url.origin ? "same-origin" : "same-site";
    const headers = {
      accept: "text/html,application/xhtml+xml,*/*;q=0.8",
      "accept-language": "en",
      "user-agent": "Mozilla/5.0 (plain)",
      "sec-fetch-dest": "document",
      "sec-fetch-mode": "navigate",
      "sec-fetch-site": site,
      "sec-fetch-user": "?1",
    };
    const cookies = this.#cookiesFor(url, method, crossSite);
    if (cookies) headers.cookie = cookies;
    if (body !== undefined) {
      headers["content-type"] = "application/x-www-form-urlencoded";
      headers["content-length"] = Buffer.byteLength(body);
      // Fetch standard: a page that gives no referrer posts with an opaque origin.
      headers.origin = from.headers["referrer-policy"] === "no-referrer" ? "null" : from.url.origin;
    }
    return send(url, { method, headers }, body);
  }

  #keep(url, lines) {
    for (const line of lines) {
      const cookie = parseCookie(url, line);
      const key = `${cookie.host} ${cookie.name}`;
      if (cookie.expired) this.#cookies.delete(key);
      else this.#cookies.set(key, cookie);
    }
  }

  #cookiesFor(url, method, crossSite) {
    return [...this.#cookies.values()]
      .filter((cookie) => cookie.host === url.hostname)
      .filter((cookie) => cookie.path === "/" || url.pathname.startsWith(cookie.path))
      .filter((cookie) => !cookie.secure || isTrustworthy(url))
      .filter(({ sameSite }) => !crossSite || sameSite === "none" || (sameSite === "lax" && method === "GET"))
      .map(({ name, value }) => `${name}=${value}`)
      .join("; ");
  }

  /** Names of the cookies held for `host`. */
  cookieNames(host) {
    return [...this.#cookies.values()].filter((cookie) => cookie.host === host).map((cookie) => cookie.name);
  }
}

/** One request without following anything. Bounded; rejects with the URL in its words. */
export function send(url, options, body) {
  return new Promise((resolve, reject) => {
    const { request: begin } = url.protocol === "https:" ? https : http;
    const request = begin(url, { ...options, agent: false }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString("utf8") }),
      );
    });
    request.setTimeout(ANSWER_WITHIN_MS, () => request.destroy(new Error("no answer in time")));
    request.on("error", (error) => reject(new Error(`${options.method} ${url}: ${error.message}`)));
    request.end(body);
  });
}

function parseCookie(url, line) {
  const [pair, ...rest] = line.split(";").map((part) => part.trim());
  const equals = pair.indexOf("=");
  const attributes = new Map(rest.map((part) => part.split("=")).map(([key, value = ""]) => [key.toLowerCase(), value]));
  const cookie = {
    name: pair.slice(0, equals),
    value: pair.slice(equals + 1),
    host: url.hostname,
    path: attributes.get("path") || "/",
    secure: attributes.has("secure"),
    sameSite: (attributes.get("samesite") || "lax").toLowerCase(),
    expired: Number(attributes.get("max-age") ?? 1) <= 0 || new Date(attributes.get("expires") ?? 8.64e15) < new Date(),
  };
  // A browser drops these without a word; here the reason is worth more than the next page.
  if (cookie.secure && !isTrustworthy(url)) throw new Error(`${cookie.name}: Secure, but set by ${url.origin}`);
  if (cookie.name.startsWith("__Host-") && (!cookie.secure || cookie.path !== "/" || attributes.has("domain")))
    throw new Error(`${cookie.name}: __Host- wants Secure, Path=/ and no Domain`);
  return cookie;
}

function isTrustworthy(url) {
  return url.protocol === "https:" || ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
}

/** Ports do not part sites; scheme and host do. */
function siteOf(url) {
  return `${url.protocol}//${url.hostname}`;
}
