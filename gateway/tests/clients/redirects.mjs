// Where Chromium ends up: a sign-in by hand, one that Entra remembers, one whose approval is remembered too, and a refusal,
// each to a loopback address, an https address and a custom scheme. Usage: redirects.mjs MCP_URL
//
// Nobody answers at the latter two. What counts is the request that the browser's main frame makes, as its network layer
// reports it: for a custom scheme that is the last a browser does before it hands the address to the machine.

import { USER } from "./browser.mjs";
import { STEP_WITHIN_MS, check, checkCallback, drive, redirectReceiver, until } from "./checks.mjs";
import { launch, person } from "./chromium.mjs";
import { authorizeUrl, newVerifier, post, register } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);
const PICK = `button[name="user"][value="${USER}"]`;
const HTTPS = "https://client.example/oauth/callback";
const CUSTOM = "cursor://anysphere.cursor-mcp/oauth/callback";

drive(async () => {
  const loopback = await redirectReceiver();
  const browser = await launch();
  try {
    for (const uri of [loopback.uri, HTTPS, CUSTOM]) await toEach(browser, uri);
  } finally {
    await browser.close();
  }
  loopback.close();
});

/** One person with one client: what the browser and Entra remember grows from sign-in to sign-in. */
async function toEach(browser, uri) {
  const client = { uri, clientId: await register(mcpUrl, `To ${new URL(uri).protocol}`, uri) };
  const { context } = await person(browser);
  await signsIn(context, client, "by-hand", async (page) => {
    await decide(page, "allow");
    await page.locator(PICK).click();
  });
  await signsIn(context, client, "silent", async (page) => {
    await page.check('input[name="remember"]');
    await decide(page, "allow");
  });
  await signsIn(context, client, "remembered", () => {});
  await context.close();
  const { context: another } = await person(browser);
  await refuses(another, client);
  await another.close();
}

/** Signs in with a tab of its own; the code that arrives must buy tokens. `act` is what the person has to do. */
async function signsIn(context, client, state, act) {
  const tab = await open(context, client.uri);
  const verifier = newVerifier();
  await go(tab, client, state, verifier);
  await act(tab.page);
  const answer = await arrival(tab, client, state);
  checkCallback([answer.query], mcpUrl.origin);
  check(answer.by === "redirect", "it came there by the redirect of /oauth-callback", answer.by);
  const questions = { "by-hand": "consent,account", silent: "consent", remembered: "" }[state];
  check(tab.asked.join() === questions, `the person was asked for: ${questions || "nothing"}`, tab.asked);
  const bought = await post(mcpUrl, "/token", {
    grant_type: "authorization_code",
    client_id: client.clientId,
    redirect_uri: client.uri,
    code: answer.query.get("code"),
    code_verifier: verifier,
    resource: mcpUrl.href,
  });
  check(bought.status === 200 && JSON.parse(bought.text).access_token.startsWith("sp1_at_"), "and the code buys tokens", bought.status);
  check(tab.arrivals.length === 0, "Chromium went there once", tab.arrivals.length);
  await tab.page.close();
}

/** A refusal goes from /consent straight to the client, by a page that refreshes. */
async function refuses(context, client) {
  const tab = await open(context, client.uri);
  await go(tab, client, "refused", newVerifier());
  await decide(tab.page, "deny");
  const { query, by } = await arrival(tab, client, "refused");
  check(query.get("error") === "access_denied" && !query.has("code"), "a refusal arrives as access_denied", String(query));
  check(query.get("iss") === mcpUrl.origin, "with the issuer", query.get("iss"));
  check(by === "page", "it came there from a page", by);
}

/** A tab that notes its way to `uri` and what the person was asked for by a page. */
async function open(context, uri) {
  const page = await context.newPage();
  const asked = [];
  page.on("response", (response) => {
    if (response.status() !== 200 || response.request().method() !== "GET") return;
    const { pathname } = new URL(response.url());
    if (pathname === "/consent") asked.push("consent");
    if (pathname.endsWith("/oauth2/v2.0/authorize")) asked.push("account");
  });
  return { page, asked, arrivals: await arrivals(context, page, uri) };
}

/** Where nobody answers, the browser gives up the navigation, which is no failure here. */
async function go({ page }, { uri, clientId }, state, verifier) {
  await page.goto(authorizeUrl(mcpUrl, clientId, uri, state, verifier).href).catch((error) => {
    if (!/ERR_ABORTED|ERR_NAME_NOT_RESOLVED/.test(error.message)) throw error;
  });
}

async function decide(page, decision) {
  await page.click(`button[name="decision"][value="${decision}"]`);
}

/** The request of the main frame for the redirect URI, and its answer, which must carry `state`. */
async function arrival({ arrivals }, { uri }, state) {
  const { url, by } = await until(`Chromium goes to ${uri} with the answer ${state}`, STEP_WITHIN_MS, () => arrivals.shift());
  check(url.split("?")[0] === uri, `${state}: Chromium goes to exactly ${uri}`, url.split("?")[0]);
  const query = new URL(url).searchParams;
  check(query.get("state") === state, "with the client's state", query.get("state"));
  return { query, by };
}

/** Fills up with the main frame's requests to the redirect URI: the address, and whether a redirect or a page led there. */
async function arrivals(context, page, uri) {
  const found = [];
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  const { frameTree } = await devtools.send("Page.getFrameTree");
  devtools.on("Network.requestWillBeSent", ({ request, type, frameId, redirectResponse }) => {
    if (type !== "Document" || frameId !== frameTree.frame.id || !request.url.startsWith(`${uri}?`)) return;
    found.push({ url: request.url, by: redirectResponse ? "redirect" : "page" });
  });
  return found;
}
