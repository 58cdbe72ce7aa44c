// What a person sees beside a sign-in, in Chromium: the MCP endpoint opened in a browser, and what that browser remembers.
// Usage: connections.mjs MCP_URL

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { STEP_WITHIN_MS, check, drive, redirectReceiver, until } from "./checks.mjs";
import { launch, person, picture } from "./chromium.mjs";
import { authorizeUrl, register } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const CONNECTIONS = new URL("/connections", mcpUrl).href;

drive(async () => {
  const redirect = await redirectReceiver();
  const browser = await launch();
  try {
    await howToConnect(browser);
    await forgetting(browser, redirect);
  } finally {
    await browser.close();
  }
  redirect.close();
});

async function howToConnect(browser) {
  const { page, requests, complaints } = await person(browser);
  const response = await page.goto(mcpUrl.href);
  check(response.status() === 401, "the MCP endpoint shows a person a page, beside the challenge for programs", response.status());
  const text = await page.locator("body").innerText();
  for (const expected of [mcpUrl.href, "claude mcp add", '"mcpServers"', "@modelcontextprotocol/inspector"])
    check(text.includes(expected), `it has ${expected}`, text);
  check(requests.every((url) => new URL(url).origin === mcpUrl.origin), "it loads nothing from elsewhere", requests);
  const others = complaints.filter(({ text }) => !text.includes("status of 401"));
  check(others.length === 0, "and the browser complains of nothing but the 401", others);
  await picture(page, "how-to-connect");
  await page.context().close();
  await accessible(browser, mcpUrl.href, "the page on how to connect");
}

async function forgetting(browser, redirect) {
  const { context, page, complaints } = await person(browser);
  const decide = async (name, decision) => {
    const clientId = await register(mcpUrl, name, redirect.uri);
    const url = authorizeUrl(mcpUrl, clientId, redirect.uri, name).href;
    await page.goto(url);
    if (decision === "allow") await page.check('input[name="remember"]');
    await page.click(`button[name="decision"][value="${decision}"]`);
    await page.waitForURL((at) => at.origin !== mcpUrl.origin);
    return url;
  };
  const allowed = await decide("Allowed <b>one</b>", "allow");
  await decide("Allowed two", "allow");
  await decide("Refused", "deny");
  await page.goto(allowed);
  check(new URL(page.url()).origin !== mcpUrl.origin, "what is remembered goes straight to the sign-in", page.url());

  await page.goto(CONNECTIONS);
  const names = () => page.locator("li .name").allInnerTexts();
  check((await names()).join() === "Allowed two,Allowed <b>one</b>,Refused", "the browser's memories are listed", await names());
  await picture(page, "connections");
  const cookies = await context.cookies(mcpUrl.href);
  await accessible(browser, CONNECTIONS, "the list", cookies);

  await page.getByRole("button", { name: "Forget Allowed <b>one</b>" }).click();
  await until("one is forgotten", STEP_WITHIN_MS, async () => (await names()).join() === "Allowed two,Refused");
  await page.goto(allowed);
  check(page.url().includes("/consent?"), "what was forgotten is asked about again", page.url());

  await page.goto(CONNECTIONS);
  await page.getByRole("button", { name: "Forget all", exact: true }).click();
  await page.waitForURL((at) => at.pathname === "/signed-out");
  check((await context.cookies(mcpUrl.href)).length === 0, "and then no cookie is left", await context.cookies(mcpUrl.href));
  await picture(page, "signed-out");
  const ours = complaints.filter(({ at }) => at.startsWith(mcpUrl.origin));
  check(ours.length === 0, "no policy of the edge was broken on the way", ours);
  await context.close();
}

/** In light and dark, and at 320 pixels nothing is cut off. The page's own policy forbids scripts, so axe goes around it. */
async function accessible(browser, url, what, cookies = []) {
  for (const colorScheme of ["light", "dark"]) {
    const { context, page } = await person(browser, { colorScheme, bypassCSP: true, viewport: { width: 320, height: 640 } });
    await context.addCookies(cookies);
    await page.goto(url);
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => window.axe.run());
    check(violations.length === 0, `axe finds nothing wrong with ${what}, ${colorScheme}`, violations);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    check(wide <= 320, "and it fits into 320 pixels", wide);
    await context.close();
  }
}
