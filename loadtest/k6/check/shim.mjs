// Runs a k6 script as it is, as far as the scripts here need k6: setup, three executors, thresholds. Usage: shim.mjs SCRIPT
//
// Ends with 1 when a threshold does not hold, its metric was never emitted (but dropped_iterations, see thresholds.mjs), or an
// iteration threw. Says how many iterations each scenario had.

import { once } from "node:events";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { failed } from "./thresholds.mjs";

const script = pathToFileURL(resolve(process.argv[2])).href;
const LIMIT_MS = 120_000;
const metrics = new Map();
/** By scenario. */
const iterations = new Map();
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
// All are there before the first scenario begins, as with k6: what it takes to load them is no part of the run.
const pools = await Promise.all(scenarios().map(pool));
await Promise.all(scenarios().map((scenario, index) => play(scenario, pools[index])));
errors.push(...failed(options.thresholds ?? {}, metrics));
for (const error of errors) console.error(error);
for (const [name, { values }] of metrics) console.log(`${name}: ${values.length} samples`);
for (const [name, count] of iterations) console.log(`scenario ${name}: ${count} iterations`);
process.exit(errors.length === 0 ? 0 : 1);

function scenarios() {
  const { vus, iterations } = options;
  const all = options.scenarios ?? { default: { executor: "shared-iterations", vus, iterations, maxDuration: "60s" } };
  return Object.entries(all).map(([name, scenario]) => ({ name, exec: "default", startTime: "0s", ...scenario }));
}

function pool({ vus, preAllocatedVUs }) {
  return Promise.all(Array.from({ length: vus ?? preAllocatedVUs }, () => Vu()));
}

async function play(scenario, pool) {
  const { executor, startTime } = scenario;
  await sleep(ms(startTime));
  if (executor === "constant-arrival-rate") await atRate(pool, scenario);
  else if (executor === "shared-iterations") await shared(pool, scenario);
  else if (executor === "constant-vus") await constantly(pool, scenario);
  else throw new Error(`the shim has no executor ${executor}`);
}

async function atRate(pool, scenario) {
  const { rate, duration } = scenario;
  const begun = performance.now();
  const total = Math.round((rate * ms(duration)) / 1000);
  const free = [...pool];
  const running = [];
  for (let iteration = 0; iteration < total; iteration += 1) {
    await sleep(begun + (iteration * 1000) / rate - performance.now());
    const vu = free.pop();
    if (!vu) add({ metric: "dropped_iterations", type: "counter", value: 1 });
    else running.push(iterate(vu, scenario).then(() => free.push(vu)));
  }
  await Promise.all(running);
}

async function shared(pool, scenario) {
  const end = performance.now() + ms(scenario.maxDuration);
  let left = scenario.iterations;
  await Promise.all(
    pool.map(async (vu) => {
      while (left > 0 && performance.now() < end) {
        left -= 1;
        await iterate(vu, scenario);
      }
    }),
  );
  if (left > 0) add({ metric: "dropped_iterations", type: "counter", value: left });
}

async function constantly(pool, scenario) {
  const end = performance.now() + ms(scenario.duration);
  await Promise.all(
    pool.map(async (vu) => {
      while (performance.now() < end) await iterate(vu, scenario);
    }),
  );
}

async function iterate(vu, { name, exec }) {
  const begun = performance.now();
  await vu.run(exec);
  iterations.set(name, (iterations.get(name) ?? 0) + 1);
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
