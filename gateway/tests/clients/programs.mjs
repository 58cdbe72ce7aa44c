// The programs that the runner starts: each in a process group of its own, its output in a log under $ARTIFACTS, none left behind.

import { spawn } from "node:child_process";
import { createWriteStream, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { within } from "./checks.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
/** Between "please end" and "end", so that a driver can close its Chromium. */
const GRACE_MS = 5_000;

const running = new Set();

/** Starts a program. Answers the child with `log`, its file, and `ended`, a promise of its exit code. */
export function launch(name, [program, ...args]) {
  const child = spawn(program, args, { cwd: HERE, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  child.log = join(process.env.ARTIFACTS, `${name}.log`);
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

/** Throws, with the end of its log, unless the program ends with 0 in time. Ends it in any case. */
export async function succeeds(what, milliseconds, child) {
  try {
    const code = await within(what, milliseconds, child.ended);
    if (code !== 0) throw new Error(`exit code ${code}`);
  } catch (error) {
    throw new Error(`${error.message}\n${tail(child.log)}`);
  } finally {
    await stop(child);
  }
}

/** Asks a program to end, and what it started; ends them when they do not. */
export async function stop(child) {
  end(child, "SIGTERM");
  await within("the program ends when asked", GRACE_MS, child.ended).catch(() => end(child, "SIGKILL"));
}

/** Signals the program and what it started; a group that never was or is gone already is as good. */
export function end(child, signal) {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

export function endAll() {
  for (const child of running) end(child, "SIGTERM");
}

/** The last lines of a log. */
export function tail(log) {
  return readFileSync(log, "utf8").split("\n").slice(-40).join("\n");
}
