// `k6`: check, group, sleep, fail.

import { sample } from "./state.mjs";

export function check(value, checks) {
  let all = true;
  for (const [name, holds] of Object.entries(checks)) {
    const held = Boolean(typeof holds === "function" ? holds(value) : holds);
    sample("checks", "rate", held);
    if (!held) console.error(`check failed: ${name}; status ${value?.status}, error_code ${value?.error_code}`);
    all &&= held;
  }
  return all;
}

export function group(name, work) {
  return work();
}

export function sleep(seconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
}

export function fail(message) {
  throw new Error(message);
}
