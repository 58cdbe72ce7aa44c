// Starts `sallyport dev` on free ports, runs every driver against it, stops it, counts. `run` prepares what this needs.
// Usage: all.mjs [--table] [driver name …]; --table writes docs/compatibility.md from a whole run

import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, until, within } from "./checks.mjs";
import { DRIVERS, clients } from "./drivers.mjs";
import { checkPage, checkPins, render, write } from "./table.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const { ARTIFACTS, SALLYPORT_BIN } = process.env;
const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 15_000;
const DRIVER_WITHIN_MS = 120_000;
/** Between "please end" and "end", so that a driver can close its Chromium. */
const GRACE_MS = 5_000;

let passed = 0;
let failed = 0;
let skipped = 0;
/** What passed, for the compatibility table: `{ client, transport, shown }`. */
const results = [];
const running = new Set();

for (const signal of ["SIGINT", "SIGTERM"])
  process.on(signal, () => {
    for (const child of running) end(child, "SIGTERM");
    process.exit(1);
  });

mkdirSync(ARTIFACTS, { recursive: true });
const versions = clients();
const { names, table } = chosen(process.argv.slice(2));
const begun = Date.now();
const sallyport = await startSallyport();
for (const [index, name] of names.entries()) {
  const { needs } = DRIVERS[name];
  if (needs && !sallyport.grants.includes(needs)) {
    skipped += 1;
    console.log(`SKIPPED ${name}: this build has no ${needs.replace("_", " ")}s`);
    continue;
  }
  await report(name, () => runDriver(name, sallyport.origin));
  if (index === 0 && passed === 1) console.log(`the first tool call was made within ${((Date.now() - begun) / 1000).toFixed(1)} s of the start`);
}
await report("graceful-stop", () => stopSallyport(sallyport));
if (table && failed === 0) write(render(results));
await report("compatibility-table", () => checkTable());
console.log(`clients: ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed === 0 ? 0 : 1);

function chosen(words) {
  const table = words.includes("--table");
  const wanted = words.filter((word) => word !== "--table");
  const unknown = wanted.filter((name) => !(name in DRIVERS));
  if (unknown.length > 0 || (table && wanted.length > 0)) {
    console.error(`${table ? "--table wants a whole run" : `no driver ${unknown.join(", ")}`}; there are ${Object.keys(DRIVERS).join(", ")}`);
    process.exit(64);
  }
  return { names: wanted.length > 0 ? wanted : Object.keys(DRIVERS), table };
}

/** What has failed is not in the results, and said already: then, as in a run of some drivers, only the pins are compared. */
function checkTable() {
  checkPins(versions);
  const whole = names.length === Object.keys(DRIVERS).length;
  if (whole && failed === 0) checkPage(render(results));
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
  const origin = `http://localhost:${port}`;
  const metadata = await fetch(`${origin}/.well-known/oauth-authorization-server`);
  return { child, origin, grants: (await metadata.json()).grant_types_supported };
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
  const { program, file, path, rest, client, transport } = DRIVERS[name];
  const child = launch(name, [program, join(HERE, file), `${origin}${path}`, ...rest]);
  try {
    const code = await within(`${name} ends`, DRIVER_WITHIN_MS, child.ended);
    if (code !== 0) throw new Error(`exit code ${code}`);
    if (client) results.push({ client: versions.find((each) => each.name === client.name), transport, shown: shownIn(child.log) });
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

function shownIn(log) {
  return [...readFileSync(log, "utf8").matchAll(/^shown: (.+)$/gm)].map(([, what]) => what);
}

function tail(log) {
  return readFileSync(log, "utf8").split("\n").slice(-40).join("\n");
}
