// One VU: loads the script, as k6 does for each, and runs what the shim asks for.

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parentPort, workerData } from "node:worker_threads";
import { taken } from "./k6-modules/state.mjs";

globalThis.__ENV = process.env;
globalThis.__VU = workerData.vu;
globalThis.__ITER = 0;
// From the script's folder, as k6 does.
globalThis.open = (path) => readFileSync(resolve(dirname(fileURLToPath(workerData.script)), path), "utf8");

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
