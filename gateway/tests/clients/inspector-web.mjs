// The MCP Inspector by its web page, in Chromium, with a person's clicks. Usage: inspector-web.mjs MCP_URL http|sse

import { USER } from "./browser.mjs";
import { TOOL, check, drive, freePort, shown, until } from "./checks.mjs";
import { launch, person, picture } from "./chromium.mjs";
import { VERSION, memory, start } from "./inspector.mjs";

const [url, kind] = process.argv.slice(2);
const READY = /up and running at:\s+(\S+)/;
const READY_WITHIN_MS = 60_000;

drive(async () => {
  console.log(`MCP Inspector ${VERSION}`);
  const store = memory();
  const ports = { CLIENT_PORT: String(await freePort()), MCP_SANDBOX_PORT: "0", MCP_AUTO_OPEN_ENABLED: "false" };
  const inspector = start(["--web", "--server-url", url, "--transport", kind], store, ports);
  let browser;
  try {
    const home = await until("the Inspector's page", READY_WITHIN_MS, () => READY.exec(inspector.output.stdout)?.[1]);
    browser = await launch();
    const { page, requests } = await person(browser);
    await page.goto(home);
    await connect(page);
    await signIn(page, new URL(home).origin);
    await useTool(page);
    await comeBack(page, home, requests);
  } finally {
    await browser?.close();
    inspector.child.kill();
    await inspector.ended;
    store.forget();
  }
});

async function connect(page) {
  await flipSwitch(page);
  // Waiting for the button and not for a navigation: the Inspector starts one, drops it and starts another.
  await page.locator('button[name="decision"]').first().waitFor();
  check(new URL(page.url()).origin === new URL(url).origin, "connecting leads to the edge", page.url());
}

async function signIn(page, home) {
  const allow = page.locator('button[name="decision"][value="allow"]');
  await allow.waitFor();
  check((await page.locator("main, body").first().innerText()).includes("MCP Inspector"), "the consent page names the Inspector");
  check((await page.content()).includes(new URL(home).host), "and the host it returns to");
  await picture(page, `inspector-${kind}-consent`);
  await allow.click();
  await page.locator(`button[name="user"][value="${USER}"]`).click();
  await page.getByText("Connected", { exact: true }).waitFor();
  check(new URL(page.url()).origin === home, "the browser is back at the Inspector", page.url());
  check(true, "allowed and signed in, the Inspector says Connected");
  shown("first sign-in");
}

/** The page as if opened anew: it lives on what it has stored. */
async function comeBack(page, home, requests) {
  await page.goto(home);
  const before = requests.length;
  await flipSwitch(page);
  await page.getByText("Connected", { exact: true }).waitFor();
  const asked = requests.slice(before).filter((request) => new URL(request).origin === new URL(url).origin);
  check(!asked.some((request) => request.includes("/authorize")), "opened anew it is connected without a sign-in", asked);
  shown("second run by stored token");
}

async function flipSwitch(page) {
  // The real box is drawn over; its label takes a mouse's click, the keyboard takes this.
  await page.getByRole("switch", { name: /^Connect or disconnect/ }).press("Space");
}

async function useTool(page) {
  await page.getByText("Tools", { exact: true }).first().click();
  await page.getByRole("button", { name: TOOL }).click();
  check(true, `${TOOL} is listed`);
  shown("`tools/list`");
  await page.getByRole("button", { name: "Execute Tool" }).click();
  await page.getByText("Adele Vance").first().waitFor();
  check(/"success":\s*true/.test(await page.locator("body").innerText()), "the tool ran: the page shows the user's data");
  shown("`tools/call`");
  await picture(page, `inspector-${kind}-tool`);
}
