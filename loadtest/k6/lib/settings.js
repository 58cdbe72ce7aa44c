// What the environment says. Every script reads it here and nowhere else.

/** The origin of the edge, without a slash at the end. */
export const EDGE = __ENV.EDGE || "http://localhost:8080";
/** The path of an upstream there. */
export const MCP = EDGE + (__ENV.MCP_PATH || "/mcp");
/** Whom the stand-in for Entra knows. */
export const USER = __ENV.ENTRA_USER || "adele@contoso.example";

/** A file of tokens that have run out. k6 opens a relative path from the script's folder. */
export const EXPIRED = __ENV.EXPIRED || null;

/** How many or how long: k6 knows no half callers, and half seconds would be lost where scenarios follow each other.
 * @param {string} name @param {number} otherwise @param {number} least */
export function whole(name, otherwise, least = 1) {
  const text = __ENV[name];
  if (text === undefined || text === "") return otherwise;
  if (!/^\d+$/.test(text) || Number(text) < least) throw new Error(`${name} must be a whole number, ${least} or more`);
  return Number(text);
}

/** A bound on a time. @param {string} name @param {number} otherwise */
export function milliseconds(name, otherwise) {
  const text = __ENV[name];
  if (text === undefined || text === "") return otherwise;
  if (!/^\d+(\.\d+)?$/.test(text) || Number(text) === 0) throw new Error(`${name} must be a number above 0`);
  return Number(text);
}

/** For how long each scenario runs. */
export const SECONDS = whole("SECONDS", 30);
/** Likewise, as k6 writes it. */
export const DURATION = `${SECONDS}s`;
/** How many iterations of a run may be dropped. */
export const DROPPED = whole("DROPPED", 0, 0);
