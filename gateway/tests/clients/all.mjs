// Starts `sallyport dev` on free ports, runs every driver against it, stops it, counts. `run` prepares what this needs.
// Usage: all.mjs [driver name …]

import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, until, within } from "./checks.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const { ARTIFACTS, PYTHON, SALLYPORT_BIN } = process.env;
const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 15_000;
const DRIVER_WITHIN_MS = 120_000;
/** Between "please end" and "end", so that a driver can close its Chromium. */
const GRACE_MS = 5_000;

const HTTP = "/mcp";
const SSE = "/mcp/sse";
const node = (file, path, ...rest) => [process.execPath, file, path, ...rest];
const python = (file, path, ...rest) => [PYTHON, file, path, ...rest];

const DRIVERS = {
  "typescript-1-http": node("ts-sdk-1.mjs", HTTP, "http"),
  "typescript-1-sse": node("ts-sdk-1.mjs", SSE, "sse"),
  "typescript-2-http": node("ts-sdk-2.mjs", HTTP, "http"),
  "typescript-2-http-auto": node("ts-sdk-2.mjs", HTTP, "http-auto"),
  "typescript-2-sse": node("ts-sdk-2.mjs", SSE, "sse"),
  "python-2-http": python("python_sdk.py", HTTP, "http"),
  "python-2-http-legacy": python("python_sdk.py", HTTP, "http-legacy"),
  "python-2-sse": python("python_sdk.py", SSE, "sse"),
  "inspector-cli-http": node("inspector-cli.mjs", HTTP, "http"),
  "inspector-cli-http-auto": node("inspector-cli.mjs", HTTP, "http-auto"),
  "inspector-cli-sse": node("inspector-cli.mjs", SSE, "sse"),
  "inspector-web-http": node("inspector-web.mjs", HTTP, "http"),
  "inspector-web-sse": node("inspector-web.mjs", SSE, "sse"),
  "consent-page": node("consent-page.mjs", HTTP),
  takeover: node("takeover.mjs", HTTP),
  load: node("load.mjs", HTTP),
};

let passed = 0;
let failed = 0;
const running = new Set();

for (const signal of ["SIGINT", "SIGTERM"])
  process.on(signal, () => {
    for (const child of running) end(child, "SIGTERM");
    process.exit(1);
  });

mkdirSync(ARTIFACTS, { recursive: true });
const names = chosen(process.argv.slice(2));
const begun = Date.now();
const sallyport = await startSallyport();
for (const [index, name] of names.entries()) {
  await report(name, () => runDriver(name, sallyport.origin));
  if (index === 0 && passed === 1) console.log(`the first tool call was made within ${((Date.now() - begun) / 1000).toFixed(1)} s of the start`);
}
await report("graceful-stop", () => stopSallyport(sallyport));
console.log(`clients: ${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

function chosen(wanted) {
  const unknown = wanted.filter((name) => !(name in DRIVERS));
  if (unknown.length > 0) {
    console.error(`no driver ${unknown.join(", ")}; there are ${Object.keys(DRIVERS).join(", ")}`);
    process.exit(64);
  }
  return wanted.length > 0 ? wanted : Object.keys(DRIVERS);
}

async function report(name, work) {
  const begun = Date.now();
  try {
    await work();
    passed += 1;
    console.log(`${name} ok (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`${name} FAILED\n${error.message.trimEnd().replace(/^/gm, "  | ")}`);
  }
}

async function startSallyport() {
  const [port, adminPort] = [await freePort(), await freePort()];
  const child = launch("sallyport", [SALLYPORT_BIN, "dev", "--port", String(port), "--admin-port", String(adminPort)]);
  try {
    await until("sallyport dev is ready", READY_WITHIN_MS, async () => {
      if (child.exitCode !== null) throw new Error(`sallyport dev ended with ${child.exitCode}`);
      const answer = await fetch(`http://127.0.0.1:${adminPort}/readyz`).catch(() => null);
      return answer?.ok;
    });
  } catch (error) {
    end(child, "SIGKILL");
    console.log(`${error.message}\n${tail(child.log)}\nclients: 0 passed, ${names.length} failed`);
    process.exit(1);
  }
  return { child, origin: `http://localhost:${port}` };
}

async function stopSallyport({ child }) {
  if (child.exitCode !== null) throw new Error(`it ended by itself with ${child.exitCode}\n${tail(child.log)}`);
  child.kill("SIGTERM");
  try {
    const code = await within("sallyport dev stops on SIGTERM", STOP_WITHIN_MS, child.ended);
    if (code !== 0) throw new Error(`exit code ${code}\n${tail(child.log)}`);
  } finally {
    end(child, "SIGKILL");
  }
}

async function runDriver(name, origin) {
  const [program, file, path, ...rest] = DRIVERS[name];
  const child = launch(name, [program, join(HERE, file), `${origin}${path}`, ...rest]);
  try {
    const code = await within(`${name} ends`, DRIVER_WITHIN_MS, child.ended);
    if (code !== 0) throw new Error(`exit code ${code}`);
  } catch (error) {
    throw new Error(`${error.message}\n${tail(child.log)}`);
  } finally {
    end(child, "SIGTERM");
    await within("the driver ends when asked", GRACE_MS, child.ended).catch(() => end(child, "SIGKILL"));
  }
}

/** Starts a program in a process group of its own, its output in a log under $ARTIFACTS. */
function launch(name, [program, ...args]) {
  const child = spawn(program, args, { cwd: HERE, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  child.log = join(ARTIFACTS, `${name}.log`);
  const log = createWriteStream(child.log);
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  running.add(child);
  child.ended = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      running.delete(child);
      log.end(() => resolve(code ?? signal));
    });
  });
  // Who waits for it hears of an error; who does not must not bring the run down.
  child.ended.catch(() => {});
  return child;
}

/** Signals the program and what it started; a group that never was or is gone already is as good. */
function end(child, signal) {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

function tail(log) {
  return readFileSync(log, "utf8").split("\n").slice(-40).join("\n");
}
