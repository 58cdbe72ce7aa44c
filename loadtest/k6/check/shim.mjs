// Runs a k6 script as it is, as far as the scripts here need k6: setup, three executors, thresholds. Usage: shim.mjs SCRIPT
//
// Ends with 1 when a threshold does not hold, its metric was never emitted, or an iteration threw.

import { once } from "node:events";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { failed } from "./thresholds.mjs";

const script = pathToFileURL(resolve(process.argv[2])).href;
const LIMIT_MS = 120_000;
/** Made by k6 itself; this one it emits only when an iteration was dropped. */
const metrics = new Map([["dropped_iterations", { type: "counter", values: [0] }]]);
const errors = [];
let vus = 0;
/** What setup answered. */
let data;

setTimeout(() => {
  console.error("the script does not end");
  process.exit(1);
}, LIMIT_MS).unref();

const first = await Vu();
const { options } = first;
data = first.hasSetup ? await first.run("setup") : undefined;
await Promise.all(scenarios().map(play));
errors.push(...failed(options.thresholds ?? {}, metrics));
for (const error of errors) console.error(error);
for (const [name, { values }] of metrics) console.log(`${name}: ${values.length} samples`);
process.exit(errors.length === 0 ? 0 : 1);

function scenarios() {
  const { vus, iterations } = options;
  return Object.values(options.scenarios ?? { default: { executor: "shared-iterations", vus, iterations, maxDuration: "60s" } });
}

async function play(scenario) {
  const { executor, exec = "default", startTime = "0s" } = scenario;
  const pool = await Promise.all(Array.from({ length: scenario.vus ?? scenario.preAllocatedVUs }, () => Vu()));
  await sleep(ms(startTime));
  if (executor === "constant-arrival-rate") await atRate(pool, exec, scenario);
  else if (executor === "shared-iterations") await shared(pool, exec, scenario);
  else if (executor === "constant-vus") await constantly(pool, exec, scenario);
  else throw new Error(`the shim has no executor ${executor}`);
}

async function atRate(pool, exec, { rate, duration }) {
  const begun = performance.now();
  const total = Math.round((rate * ms(duration)) / 1000);
  const free = [...pool];
  const running = [];
  for (let iteration = 0; iteration < total; iteration += 1) {
    await sleep(begun + (iteration * 1000) / rate - performance.now());
    const vu = free.pop();
    if (!vu) add({ metric: "dropped_iterations", type: "counter", value: 1 });
    else running.push(iterate(vu, exec).then(() => free.push(vu)));
  }
  await Promise.all(running);
}

async function shared(pool, exec, { iterations, maxDuration }) {
  const end = performance.now() + ms(maxDuration);
  let left = iterations;
  await Promise.all(
    pool.map(async (vu) => {
      while (left > 0 && performance.now() < end) {
        left -= 1;
        await iterate(vu, exec);
      }
    }),
  );
  if (left > 0) add({ metric: "dropped_iterations", type: "counter", value: left });
}

async function constantly(pool, exec, { duration }) {
  const end = performance.now() + ms(duration);
  await Promise.all(
    pool.map(async (vu) => {
      while (performance.now() < end) await iterate(vu, exec);
    }),
  );
}

async function iterate(vu, exec) {
  const begun = performance.now();
  await vu.run(exec);
  add({ metric: "iterations", type: "counter", value: 1 });
  add({ metric: "iteration_duration", type: "trend", value: performance.now() - begun });
}

/** A thread that has loaded the script. */
async function Vu() {
  const worker = new Worker(new URL("vu.mjs", import.meta.url), { workerData: { script, vu: (vus += 1) } });
  worker.unref();
  const message = async () => (await once(worker, "message"))[0];
  const loaded = await message();
  const run = async (exec) => {
    const answer = message();
    worker.postMessage({ exec, data });
    const { result, error, samples } = await answer;
    samples.forEach(add);
    if (error) errors.push(`${exec}: ${error}`);
    return result;
  };
  return { ...loaded, run };
}

function add({ metric, type, value }) {
  const known = metrics.get(metric);
  if (known) known.values.push(value);
  else metrics.set(metric, { type, values: [value] });
}

function ms(text) {
  const seconds = /^(\d+)s$/.exec(text);
  if (!seconds) throw new Error(`the shim reads whole seconds only, not ${text}`);
  return Number(seconds[1]) * 1000;
}

function sleep(milliseconds) {
  return milliseconds > 0 ? new Promise((resolve) => setTimeout(resolve, milliseconds)) : undefined;
}
