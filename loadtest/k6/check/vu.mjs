// One VU: loads the script, as k6 does for each, and runs what the shim asks for.

import { readFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { taken } from "./k6-modules/state.mjs";

globalThis.__ENV = process.env;
globalThis.__VU = workerData.vu;
globalThis.__ITER = 0;
globalThis.open = (path) => readFileSync(path, "utf8");

const script = await import(workerData.script);
parentPort.postMessage({ options: script.options, hasSetup: typeof script.setup === "function" });

parentPort.on("message", ({ exec, data }) => {
  const begun = performance.now();
  let result, error;
  try {
    result = script[exec](data);
    globalThis.__ITER += 1;
  } catch (thrown) {
    error = String(thrown?.stack ?? thrown);
  }
  parentPort.postMessage({ result, error, samples: taken(), took: performance.now() - begun });
});
