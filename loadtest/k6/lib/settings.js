// What the environment says. Every script reads it here and nowhere else.

/** The origin of the edge, without a slash at the end. */
export const EDGE = __ENV.EDGE || "http://localhost:8080";
/** The path of an upstream there. */
export const MCP = EDGE + (__ENV.MCP_PATH || "/mcp");
/** Whom the stand-in for Entra knows. */
export const USER = __ENV.ENTRA_USER || "adele@contoso.example";

/** @param {string} name @param {number} otherwise */
export function number(name, otherwise) {
  const text = __ENV[name];
  if (text === undefined || text === "") return otherwise;
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${name} must be a number above 0`);
  return value;
}

/** For how long each scenario runs. */
export const DURATION = `${number("SECONDS", 30)}s`;
