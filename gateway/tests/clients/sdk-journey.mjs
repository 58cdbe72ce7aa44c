// The journey of a program built on an official TypeScript SDK, the same for both lines: refused, registered, signed in by
// a person, connected, tool listed and called. The drivers bring their line's classes.

import { Browser } from "./browser.mjs";
import { TOOL, check, checkCallback, checkTools, checkUser, redirectReceiver, shown } from "./checks.mjs";

/**
 * @param {URL} url the MCP endpoint
 * @param {object} sdk
 * @param {(url: URL, provider: object) => object} sdk.transport a fresh transport
 * @param {() => object} sdk.client a fresh client
 * @param {(transport: object, answer: URLSearchParams) => Promise<void>} sdk.finish redeems what the redirect URI received
 * @param {(client: object, transport: object, provider: object) => Promise<void>} [sdk.connected] more checks on the live connection
 */
export async function journey(url, sdk) {
  const redirect = await redirectReceiver();
  const provider = new Provider(redirect.uri);

  const refused = sdk.transport(url, provider);
  const error = await sdk.client().connect(refused).then(() => null, (reason) => reason);
  check(error?.constructor.name === "UnauthorizedError", "the first connection asks for a sign-in", String(error));
  check(provider.registered?.client_id?.startsWith("sp1_cl_"), "the client registered itself", provider.registered);
  checkAuthorizeUrl(provider, url);

  const page = await new Browser().signIn(provider.authorizeUrl);
  check(page.status === 200 && page.url.href.startsWith(redirect.uri), "the browser ends at the client's redirect URI", page.url.href);
  const answer = checkCallback(redirect.received, url.origin);
  check(answer.get("state") === provider.sentState, "the client's state came back", answer.get("state"));

  await sdk.finish(refused, answer);
  checkTokens(provider.saved);

  shown("first sign-in");

  await use(url, sdk, provider, sdk.connected);
  const before = { ...provider };
  await use(url, sdk, provider);
  check(provider.authorizeUrl === before.authorizeUrl && provider.registered === before.registered, "the second run neither registered nor asked for a sign-in");
  shown("second run by stored token");
  redirect.close();
}

/** One run of the program: a new connection with what `provider` has kept. */
async function use(url, sdk, provider, connected) {
  const transport = sdk.transport(url, provider);
  const client = sdk.client();
  await client.connect(transport);
  check(client.getServerVersion()?.name, "connected to the MCP server", client.getServerVersion());
  checkTools((await client.listTools()).tools);
  checkUser(await client.callTool({ name: TOOL, arguments: {} }));
  await connected?.(client, transport, provider);
  await client.close();
}

/** The SDK's memory: one client, one user, nothing on disk. */
class Provider {
  constructor(redirectUrl) {
    this.redirectUrl = redirectUrl;
    this.clientMetadata = {
      client_name: "Client test",
      redirect_uris: [redirectUrl],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    };
  }
  state() {
    return (this.sentState = crypto.randomUUID());
  }
  clientInformation() {
    return this.registered;
  }
  saveClientInformation(information) {
    this.registered = information;
  }
  tokens() {
    return this.saved;
  }
  saveTokens(tokens) {
    this.saved = tokens;
  }
  redirectToAuthorization(url) {
    this.authorizeUrl = url;
  }
  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }
  codeVerifier() {
    return this.verifier;
  }
  saveDiscoveryState(state) {
    this.discovered = state;
  }
  discoveryState() {
    return this.discovered;
  }
}

function checkAuthorizeUrl({ authorizeUrl, registered, redirectUrl }, url) {
  const sent = authorizeUrl.searchParams;
  check(authorizeUrl.origin === url.origin && authorizeUrl.pathname === "/authorize", "it opens the edge's /authorize", authorizeUrl.href);
  check(sent.get("code_challenge_method") === "S256", "with PKCE S256", [...sent.keys()]);
  check(sent.get("resource") === url.href, "for the resource it found in the metadata", sent.get("resource"));
  check(sent.get("client_id") === registered.client_id && sent.get("redirect_uri") === redirectUrl, "as the client it registered");
}

function checkTokens(tokens) {
  check(tokens?.access_token?.startsWith("sp1_at_"), "the code bought an access token of the edge", Object.keys(tokens ?? {}));
  check(tokens.token_type.toLowerCase() === "bearer" && Number.isInteger(tokens.expires_in), "Bearer, with its lifetime", tokens.expires_in);
}
