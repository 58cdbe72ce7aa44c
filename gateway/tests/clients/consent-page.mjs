// The consent page as a person meets it, in Chromium: keyboard, light and dark, narrow, assistive technology, framed by a
// stranger. Usage: consent-page.mjs MCP_URL

import { readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { USER } from "./browser.mjs";
import { STEP_WITHIN_MS, check, checkCallback, drive, redirectReceiver, until } from "./checks.mjs";
import { launch, person, picture } from "./chromium.mjs";
import { authorizeUrl, register } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const NAME = "Client <b>&amp; test";
const TABS = 20;

drive(async () => {
  const redirect = await redirectReceiver();
  const clientId = await register(mcpUrl, NAME, redirect.uri);
  const start = (state) => authorizeUrl(mcpUrl, clientId, redirect.uri, state).href;
  const browser = await launch();
  try {
    await content(await person(browser, { colorScheme: "light" }), start("content"), redirect);
    await colours(browser, start("colours"));
    await narrow(await person(browser, { viewport: { width: 320, height: 640 } }), start("narrow"));
    await denied(await person(browser), start("denied"), redirect);
    await allowed(await person(browser), start("allowed"), redirect);
    await withoutScript(await person(browser, { javaScriptEnabled: false }), start("plain"), redirect);
    await framed(await person(browser), start("framed"));
    await refused(await person(browser), redirect);
  } finally {
    await browser.close();
  }
  redirect.close();
});

async function content({ context, page, requests, complaints }, url, redirect) {
  const response = await page.goto(url);
  check(response.status() === 200, "the consent page answers 200", response.status());
  const text = await page.locator("body").innerText();
  check(text.includes(NAME), "it shows the client's name as text, not as markup", text);
  check(text.includes(new URL(redirect.uri).hostname), "it shows the host of the redirect URI", text);
  const scripts = await page.evaluate(() => ({
    elements: document.querySelectorAll("script").length,
    handlers: [...document.querySelectorAll("*")].flatMap((each) => each.getAttributeNames()).filter((name) => name.startsWith("on")),
  }));
  check(scripts.elements === 0 && scripts.handlers.length === 0, "it has no script", scripts);
  const strangers = requests.filter((each) => new URL(each).origin !== mcpUrl.origin);
  check(strangers.length === 0, "it loads nothing from another origin", strangers);
  check(complaints.length === 0, "and the browser has no complaint", complaints);
  const headers = await response.allHeaders();
  check(headers["content-security-policy"]?.includes("frame-ancestors 'none'"), "its policy forbids frames", headers);
  check(headers["content-security-policy"].includes("form-action 'self'"), "and forms to elsewhere", headers);
  check(headers["cache-control"]?.includes("no-store"), "it is not stored", headers["cache-control"]);
  check((await context.cookies(mcpUrl.href)).length > 0, "it sets its cookies");
  for (const cookie of await context.cookies(mcpUrl.href))
    check(cookie.name.startsWith("__Host-MCP_") && cookie.secure && cookie.httpOnly && cookie.sameSite === "Lax", `cookie ${cookie.name} is Secure, HttpOnly, Lax`, cookie);
}

async function colours(browser, url) {
  for (const colorScheme of ["light", "dark"]) {
    const { page } = await person(browser, { colorScheme });
    await page.goto(url);
    await accessible(page, `consent page, ${colorScheme}`);
    await picture(page, `consent-${colorScheme}`);
    const brightness = await page.evaluate(backgroundBrightness);
    check(colorScheme === "dark" ? brightness < 0.3 : brightness > 0.7, `its background is ${colorScheme}`, brightness);
  }
}

async function narrow({ page }, url) {
  await page.goto(url);
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  check(width <= 320, "at 320 pixels (or 400 % zoom) nothing is cut off sideways", width);
  await picture(page, "consent-narrow");
}

async function denied({ page }, url, redirect) {
  await page.goto(url);
  await pressByKeyboard(page, 'button[name="decision"][value="deny"]');
  const answer = await until("the client hears of the denial", STEP_WITHIN_MS, () => take(redirect, "denied"));
  check(answer.get("error") === "access_denied", "Deny, by keyboard alone, tells the client access_denied", String(answer));
  check(answer.get("iss") === mcpUrl.origin && !answer.has("code"), "with the issuer and without a code", String(answer));
}

async function allowed({ page, complaints }, url, redirect) {
  await page.goto(url);
  await pressByKeyboard(page, 'button[name="decision"][value="allow"]');
  await page.waitForURL((at) => at.origin !== mcpUrl.origin);
  await pressByKeyboard(page, `button[name="user"][value="${USER}"]`);
  const answer = await until("the client gets its code", STEP_WITHIN_MS, () => take(redirect, "allowed"));
  checkCallback([answer], mcpUrl.origin);
  const ours = complaints.filter(({ at }) => at.startsWith(mcpUrl.origin));
  check(ours.length === 0, "Allow, by keyboard alone, broke no policy of the edge on the way", ours);
}

async function withoutScript({ page }, url, redirect) {
  await page.goto(url);
  await page.locator('button[name="decision"][value="allow"]').click();
  await page.locator(`button[name="user"][value="${USER}"]`).click();
  await until("the client gets its code", STEP_WITHIN_MS, () => take(redirect, "plain"));
  check(true, "the sign-in works with scripts switched off");
}

async function framed({ page }, url) {
  const stranger = http.createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/html" });
    response.end(`<!doctype html><title>Stranger</title><iframe src="${url.replaceAll("&", "&amp;")}"></iframe>`);
  });
  await new Promise((resolve) => stranger.listen(0, "127.0.0.1", resolve));
  await page.goto(`http://127.0.0.1:${stranger.address().port}/`, { waitUntil: "load" });
  const frame = await until("the frame settles", STEP_WITHIN_MS, () => page.frames().find((each) => each !== page.mainFrame() && each.url() !== "about:blank"));
  await frame.waitForLoadState();
  check((await frame.locator("button").count()) === 0, "a stranger's frame shows no button to be tricked into", frame.url());
  check(frame.url().startsWith("chrome-error:"), "the browser refuses to show it there", frame.url());
  stranger.close();
}

async function refused({ page }, redirect) {
  const response = await page.goto(authorizeUrl(mcpUrl, "sp1_cl_nobody", redirect.uri, "x").href);
  check(response.status() === 400 && new URL(page.url()).origin === mcpUrl.origin, "an unknown client is a page, not a redirect", page.url());
  await accessible(page, "error page");
  await picture(page, "error-page");
}

/** Tabs to the control as a person without a mouse, sees where the focus is, presses Enter. */
async function pressByKeyboard(page, selector) {
  for (let tab = 0; tab < TABS; tab += 1) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate((wanted) => {
      const active = document.activeElement;
      const style = getComputedStyle(active);
      return { here: active.matches(wanted), visible: style.outlineStyle !== "none" || style.boxShadow !== "none" };
    }, selector);
    if (!focus.here) continue;
    check(focus.visible, `Tab reaches ${selector}, and the focus shows`);
    return page.keyboard.press("Enter");
  }
  throw new Error(`${TABS} times Tab never reached ${selector}`);
}

/** axe-core's verdict. It comes in by the debugger, past the page's policy, which lets no script in. */
async function accessible(page, what) {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => axe.run({ preload: false }));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
  check(violations.length === 0 && passes.length > 5, `axe-core finds nothing on the ${what}`, found);
}

/** Takes out the answer that carries `state`. */
function take({ received }, state) {
  const at = received.findIndex((answer) => answer.get("state") === state);
  return at < 0 ? null : received.splice(at, 1)[0];
}

/** 0 black, 1 white; of what lies behind the page (runs in the page). */
function backgroundBrightness() {
  // A canvas turns any CSS colour, system colours too, into numbers.
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const transparent = "rgba(0, 0, 0, 0)";
  const own = [document.body, document.documentElement].map((each) => getComputedStyle(each).backgroundColor).find((each) => each !== transparent);
  const probe = document.createElement("p");
  probe.style.backgroundColor = "Canvas";
  document.body.append(probe);
  paint.fillStyle = own ?? getComputedStyle(probe).backgroundColor;
  probe.remove();
  paint.fillRect(0, 0, 1, 1);
  const [red, green, blue] = paint.getImageData(0, 0, 1, 1).data;
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
}
