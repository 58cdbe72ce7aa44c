// The one-click takeover, with two people: the attacker consents in one browser and sends the victim the link that comes
// next. Usage: takeover.mjs MCP_URL
//
// The victim's sign-in must not become the attacker's session: the callback belongs to the browser that consented.

import { Browser } from "./browser.mjs";
import { check, drive, redirectReceiver } from "./checks.mjs";
import { authorizeUrl, register } from "./raw-client.mjs";

const mcpUrl = new URL(process.argv[2]);

drive(async () => {
  const redirect = await redirectReceiver("/attacker");
  const clientId = await register(mcpUrl, "Attacker", redirect.uri);

  const attacker = new Browser();
  const start = authorizeUrl(mcpUrl, clientId, redirect.uri, "attacker");
  const { stopped: link } = await attacker.signIn(start, { stopBefore: (url) => url.origin !== mcpUrl.origin });
  check(link, "the attacker consents and stops at Entra's door");

  const victim = new Browser();
  const page = await victim.signIn(link);
  const callback = victim.history.find(({ url }) => url.startsWith(`${mcpUrl.origin}/oauth-callback`));
  check(callback, "the victim signs in and comes back to the edge", victim.history);
  check(page.url.origin === mcpUrl.origin, "the victim stays at the edge", page.url.href);
  check(page.status >= 400 && page.status < 500, "and gets an error page", page.status);
  check(/^text\/html\b/.test(page.headers["content-type"]), "a page for people", page.headers["content-type"]);
  check(!page.text.includes(redirect.uri) && !page.text.includes("sp1_ac_"), "without the attacker's address or a code in it");
  check(redirect.received.length === 0, "nothing reached the attacker's redirect URI", redirect.received.map(String));

  // Whoever learns the callback's address has nothing either.
  const replay = await new Browser().open(callback.url);
  check(replay.status >= 400 && replay.status < 500, "a third browser gets an error page too", replay.status);
  check(redirect.received.length === 0, "and still nothing reached the attacker", redirect.received.map(String));
  redirect.close();
});
