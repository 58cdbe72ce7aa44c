// Debian's Chromium, headless, driven by playwright-core; and where its screenshots go.

import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { STEP_WITHIN_MS } from "./checks.mjs";

const PLACES = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

/** Starts the browser; `close()` it. */
export async function launch() {
  const executablePath = PLACES.find((place) => place && existsSync(place));
  if (!executablePath) throw new Error("no Chromium: install Debian's package chromium or set CHROMIUM to its program");
  // Chromium refuses its sandbox to root, which CI is, and containers have a small /dev/shm. The pages are our own.
  const args = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run"];
  args.push("--disable-background-networking", "--disable-component-update", "--disable-sync");
  // Nothing off this machine is found, whoever asks for it.
  args.push(`--host-resolver-rules=MAP * ~NOTFOUND, ${LOOPBACK.map((host) => `EXCLUDE ${host}`).join(", ")}`);
  return chromium.launch({ executablePath, args });
}

/**
 * A fresh person with a fresh jar. Every request is in `requests`, those that would leave this machine, which none can, in
 * `foreign` too; the browser's errors (refusals by policy are such) are in `complaints`.
 */
export async function person(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(STEP_WITHIN_MS);
  const seen = { requests: [], foreign: [], complaints: [] };
  context.on("request", (request) => {
    seen.requests.push(request.url());
    const { protocol, hostname } = new URL(request.url());
    if (protocol.startsWith("http") && !LOOPBACK.includes(hostname)) seen.foreign.push(request.url());
  });
  context.on("console", (message) => message.type() === "error" && seen.complaints.push({ at: message.location().url, text: message.text() }));
  return { context, page: await context.newPage(), ...seen };
}

/** Keeps a picture of the page under $ARTIFACTS. */
export async function picture(page, name) {
  const folder = process.env.ARTIFACTS ?? "artifacts";
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.png`);
  await page.screenshot({ path, fullPage: true });
  console.log(`picture: ${path}`);
}
