// Sessions for a run, and whose turn it is.

import { signIn } from "./sign-in.js";

/** @param {number} count */
export function newSessions(count) {
  return Array.from({ length: count }, () => signIn());
}

/** By Zipf: the k-th comes a k-th as often as the first. @param {string[]} sessions */
export function unevenly(sessions) {
  // The inverse of the sum 1 + 1/2 + … + 1/k, which grows as the logarithm does.
  const rank = Math.floor(Math.exp(Math.random() * Math.log(sessions.length + 1)));
  return sessions[Math.min(rank, sessions.length) - 1];
}

/** Differs from a real token in one character: sealed by nobody. @param {string} token */
export function forged(token) {
  const place = "sp1_at_".length + Math.floor(Math.random() * (token.length - "sp1_at_".length - 1));
  return token.slice(0, place) + (token[place] === "A" ? "B" : "A") + token.slice(place + 1);
}

/** The lines of a file of tokens, each as it goes after `Bearer` (b64token of RFC 6750). Anything else would be refused by the edge too,
 * and look like a token that was refused. The error has no text of the file: it may be a secret.
 * @param {string} text @param {string} name */
export function tokensIn(text, name) {
  const lines = text.trimEnd().split(/\r?\n/);
  const bad = lines.findIndex((line) => !/^[A-Za-z0-9._~+/-]+=*$/.test(line));
  if (bad !== -1) throw new Error(`${name}: line ${bad + 1} of the file is no token; each line must be one, and nothing else`);
  return lines;
}
