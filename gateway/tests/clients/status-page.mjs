// The status page of the admin listener in Chromium: what it shows, and its button. Usage: status-page.mjs MCP_URL ADMIN_ORIGIN

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { STEP_WITHIN_MS, check, drive, until } from "./checks.mjs";
import { launch, person, picture } from "./chromium.mjs";
import { signedIn } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);
const STATUS = new URL("/status", process.argv[3]).href;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RELOADS = '<meta http-equiv="refresh" content="10">';
const CLIENT = "Status <i>page</i>";

drive(async () => {
  const { tokens } = await signedIn(mcpUrl, CLIENT);
  const call = async () => (await fetch(mcpUrl, { method: "POST", headers: { authorization: `Bearer ${tokens.access_token}` }, body: "{}" })).status;
  check((await call()) !== 401, "the session is good");
  const browser = await launch();
  try {
    await looksGood(browser);
    const { page, requests, complaints } = await person(browser);
    await held(page);
    await page.goto(STATUS);
    const text = await page.locator("body").innerText();
    for (const expected of ["serving", "Requests a second", "Servers", "Last warnings and errors", CLIENT])
      check(text.includes(expected), `it has ${expected}`, text);
    check(!/sp1_|eyJ/.test(await page.content()), "it shows no token");
    check(requests.every((url) => new URL(url).origin === new URL(STATUS).origin), "it loads nothing from elsewhere", requests);
    await picture(page, "status");

    const revoke = page.getByRole("button", { name: new RegExp(`with ${CLIENT}$`) });
    await revoke.click();
    await until("the session is off the list", STEP_WITHIN_MS, async () => (await revoke.count()) === 0);
    check((await call()) === 401, "whose button was pressed is refused");
    check(complaints.length === 0, "and the browser complains of nothing", complaints);

    const answer = await page.request.get(STATUS, { headers: { "sec-fetch-site": "cross-site" } });
    check(answer.status() === 403, "another site does not lead there", answer.status());
    await page.context().close();
  } finally {
    await browser.close();
  }
});

/** In light and dark, wide and narrow. The page's own policy forbids scripts, so axe goes around it. */
async function looksGood(browser) {
  for (const colorScheme of ["light", "dark"]) {
    const { context, page } = await person(browser, { colorScheme, bypassCSP: true, viewport: { width: 400, height: 800 } });
    await held(page);
    await page.goto(STATUS);
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => window.axe.run());
    check(violations.length === 0, `axe finds nothing wrong with it, ${colorScheme}`, violations);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    check(wide <= 400, "and it fits into 400 pixels", wide);
    await picture(page, `status-${colorScheme}`);
    await context.close();
  }
}

/** The page loads itself anew every ten seconds; on a slow machine that would come between two looks at it. */
async function held(page) {
  await page.route(STATUS, async (route) => {
    if (route.request().method() !== "GET") return route.continue();
    const response = await route.fetch();
    const body = await response.text();
    check(body.includes(RELOADS), "the page loads itself anew");
    await route.fulfill({ response, body: body.replace(RELOADS, "") });
  });
}
