// How the MCP Inspector is started: its own memory in a throwaway folder instead of the home folder and the keychain, no real browser.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const require = createRequire(import.meta.url);
const PACKAGE = require.resolve("@modelcontextprotocol/inspector/package.json");

/** The Inspector's version, as installed. */
export const VERSION = require(PACKAGE).version;

/** A folder that one Inspector remembers in; `forget` removes it. */
export function memory() {
  const folder = mkdtempSync(join(tmpdir(), "inspector-"));
  return { folder, forget: () => rmSync(folder, { recursive: true, force: true }) };
}

/**
 * Starts it.
 * @returns `{ child, output: {stdout, stderr}, ended }`: `output` grows while it runs, `ended` resolves to the exit code
 */
export function start(args, { folder }, environment = {}) {
  const child = spawn(process.execPath, [join(dirname(PACKAGE), "clients/launcher/build/index.js"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      MCP_STORAGE_DIR: folder,
      MCP_INSPECTOR_SECRET_STORE: "file",
      // Where it opens a browser by itself, this is the browser.
      BROWSER: "true",
      NO_COLOR: "1",
      ...environment,
    },
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => (output.stdout += chunk));
  child.stderr.on("data", (chunk) => (output.stderr += chunk));
  const ended = new Promise((resolve, reject) => child.on("close", resolve).on("error", reject));
  return { child, output, ended };
}
