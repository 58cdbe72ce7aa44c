// One person, one browser: two clients sign in at the same time in two tabs, a third by the sign-in that Entra remembers.
// Chromium, to a loopback redirect; `sallyport dev` allows no custom scheme. Usage: tabs.mjs MCP_URL

import { USER } from "./browser.mjs";
import { STEP_WITHIN_MS, check, checkCallback, drive, redirectReceiver, until } from "./checks.mjs";
import { launch, person } from "./chromium.mjs";
import { authorizeUrl, register } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);
const ALLOW = 'button[name="decision"][value="allow"]';
const PICK = `button[name="user"][value="${USER}"]`;

drive(async () => {
  const redirect = await redirectReceiver();
  const clients = { first: await register(mcpUrl, "First", redirect.uri), second: await register(mcpUrl, "Second", redirect.uri) };
  const browser = await launch();
  try {
    const { context } = await person(browser);
    await twoTabs(context, clients, redirect);
    await silently(context, clients, redirect);
  } finally {
    await browser.close();
  }
  redirect.close();
});

/** Step by step in turn, so that each tab acts after the other has changed the cookies. */
async function twoTabs(context, clients, redirect) {
  const tabs = [];
  for (const [state, clientId] of Object.entries(clients)) {
    const page = await context.newPage();
    await page.goto(authorizeUrl(mcpUrl, clientId, redirect.uri, state).href);
    tabs.push({ state, page });
  }
  for (const { page } of tabs) {
    await page.locator(ALLOW).click();
    await page.locator(PICK).waitFor();
  }
  check(true, "both tabs are allowed and stand at Entra");
  for (const { state, page } of tabs.reverse()) {
    await page.locator(PICK).click();
    checkCallback([await answer(redirect, state)], mcpUrl.origin);
    check(new URL(page.url()).origin === new URL(redirect.uri).origin, `the ${state} tab ends at its client, interactively`, page.url());
  }
}

async function silently(context, clients, redirect) {
  const page = await context.newPage();
  let asked = false;
  page.on("domcontentloaded", async () => (asked ||= (await page.locator(PICK).count().catch(() => 0)) > 0));
  await page.goto(authorizeUrl(mcpUrl, clients.first, redirect.uri, "silent").href);
  await page.locator(ALLOW).click();
  checkCallback([await answer(redirect, "silent")], mcpUrl.origin);
  check(!asked, "Entra remembers the person: after Allow no page asked who it is");
}

/** Takes out the answer that carries `state`. */
async function answer({ received }, state) {
  const at = await until(`the answer ${state}`, STEP_WITHIN_MS, () => received.findIndex((each) => each.get("state") === state) + 1);
  return received.splice(at - 1, 1)[0];
}
