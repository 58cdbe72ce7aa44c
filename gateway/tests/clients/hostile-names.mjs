// Clients with hostile names, on the consent page in Chromium (T6): nothing runs, nothing is fetched, and the person reads
// the name and no more. Usage: hostile-names.mjs MCP_URL

import { redirectReceiver, check, drive } from "./checks.mjs";
import { launch, person } from "./chromium.mjs";
import { STRANGER, cleaned, hostileNames } from "./hostile-corpus.mjs";
import { authorizeUrl, registered } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);
const PAGES_PER_JAR = 20;
const PLAIN = "A client";

drive(async () => {
  const redirect = await redirectReceiver();
  const names = hostileNames();
  const browser = await launch();
  try {
    await alarmed(await person(browser), redirect);
    const usual = await visit(await person(browser), PLAIN, redirect);
    check(usual.name === PLAIN && usual.faults.length === 0, "a harmless name is shown", usual);
    const deviations = await deviating(await person(browser), names, redirect, usual);
    check(true, `${names.length} clients with hostile names register and are shown`);
    check(deviations.length === 0, "none ran a script, fetched, or changed the page; each reads as the cleaned name", deviations.slice(0, 3));
  } finally {
    await browser.close();
  }
  redirect.close();
});

/** The names whose page is not as it should be, and why. One tab: several are slower, for they wait for each other. */
async function deviating(someone, names, redirect, usual) {
  const deviations = [];
  for (const [pages, name] of names.entries()) {
    // A person would not open hundreds of pages and finish none.
    if (pages % PAGES_PER_JAR === 0) await someone.context.clearCookies();
    const { name: text, structure, faults } = await visit(someone, name, redirect);
    if (text !== cleaned(name)) faults.push(`it reads ${JSON.stringify(text)} and not ${JSON.stringify(cleaned(name))}`);
    if (structure !== usual.structure) faults.push("the page has other elements than for a harmless name");
    if (faults.length > 0) deviations.push({ name, faults });
  }
  return deviations;
}

/** Registers the name and opens its consent page. Answers how it reads, the page's elements, and what went wrong. */
async function visit(someone, name, redirect) {
  const { page } = someone;
  const clientId = await registered(mcpUrl, name, redirect.uri);
  const response = await page.goto(authorizeUrl(mcpUrl, clientId, redirect.uri, "hostile").href, { waitUntil: "load" });
  const seen = await page.evaluate(look);
  const faults = alarms(someone);
  if (response.status() !== 200) faults.push(`the page answers ${response.status()}`);
  if (seen.ran) faults.push("a script ran");
  return { name: seen.name, structure: seen.structure, faults };
}

/** The alarms must go off where a page does let markup in. */
async function alarmed(someone, redirect) {
  const { page } = someone;
  const markup = hostileNames().filter((name) => /^<(script>|img src|iframe src=\/\/)/.test(name)).join("");
  await page.goto(redirect.uri);
  redirect.received.length = 0;
  alarms(someone);
  await page.setContent(`<h1><bdi class=name>${markup}</bdi></h1>`, { waitUntil: "load" });
  const { ran } = await page.evaluate(look);
  const noticed = alarms(someone);
  check(ran && noticed.some((each) => each.includes(STRANGER)), "a page without protection sets off the alarms", { ran, noticed });
  await page.close();
}

/** Takes what the browser noticed since the last look. */
function alarms({ requests, foreign, complaints }) {
  const strangers = requests.splice(0).filter((url) => new URL(url).origin !== mcpUrl.origin);
  return [...strangers, ...foreign.splice(0), ...complaints.splice(0).map(({ text }) => text)];
}

/** What a person reads for the name, and of which elements the page is made (runs in the page). */
function look() {
  const attributes = (element) => element.getAttributeNames().sort().join(" ");
  return {
    ran: window.ran === 1,
    name: document.querySelector("h1 bdi.name")?.innerText,
    structure: [...document.querySelectorAll("*")].map((each) => `${each.localName} ${attributes(each)}`).join("\n"),
  };
}
