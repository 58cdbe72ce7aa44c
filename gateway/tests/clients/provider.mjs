// The memory of a program built on a TypeScript SDK: one client, one user.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const PARTS = { client: ["registered"], tokens: ["saved"], verifier: ["verifier"], discovery: ["discovered"] };
PARTS.all = Object.values(PARTS).flat();
/** What outlives a run. */
const KEPT = ["registered", "saved", "discovered"];

/** The SDK's `OAuthClientProvider`. With a folder, the next run of the program finds there what this one was given to keep. */
export class Provider {
  #file;

  constructor(redirectUrl, folder) {
    this.redirectUrl = redirectUrl;
    this.clientMetadata = {
      client_name: "Client test",
      redirect_uris: [redirectUrl],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    };
    this.#file = folder && join(folder, "kept.json");
    if (this.#file && existsSync(this.#file)) Object.assign(this, JSON.parse(readFileSync(this.#file, "utf8")));
  }
  state() {
    return (this.sentState = crypto.randomUUID());
  }
  clientInformation() {
    return this.registered;
  }
  saveClientInformation(information) {
    this.#keep({ registered: information });
  }
  tokens() {
    return this.saved;
  }
  saveTokens(tokens) {
    this.#keep({ saved: tokens });
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
    this.#keep({ discovered: state });
  }
  discoveryState() {
    return this.discovered;
  }
  /** The SDK says what an error of the edge has made worthless. */
  invalidateCredentials(what) {
    this.#keep(Object.fromEntries(PARTS[what].map((part) => [part, undefined])));
  }

  #keep(parts) {
    Object.assign(this, parts);
    if (this.#file) writeFileSync(this.#file, JSON.stringify(Object.fromEntries(KEPT.map((part) => [part, this[part]]))), { mode: 0o600 });
  }
}
