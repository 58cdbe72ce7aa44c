// Checks every script: its types, then a run against `sallyport dev`, unmodified, through the shim. `../test` prepares this.

import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { failed as unmet } from "./thresholds.mjs";
import { Edge } from "../../../gateway/tests/clients/edge.mjs";
import { endAll } from "../../../gateway/tests/clients/programs.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const SCRIPTS = join(HERE, "..");
const RUN_WITHIN_MS = 120_000;
/** Short, few, and with bounds that a busy machine and an unoptimised build keep: the scripts are tested, not the edge. */
const SETTINGS = {
  smoke: {},
  "hot-path": { DROPPED: "20", SECONDS: "2", RATE: "20", SESSIONS: "8", VUS: "4", WARM_P99_MS: "5000", COLD_P99_MS: "5000", MIXED_P99_MS: "5000" },
  "sign-in": { SECONDS: "2", VUS: "2", SIGN_IN_P95_MS: "10000" },
  "token-storm": { DROPPED: "20", SECONDS: "2", RATE: "20", VUS: "4", VALID_P99_MS: "5000", REFUSAL_P99_MS: "5000" },
  streams: { HOLD_SECONDS: "2", STREAMS: "4" },
};

let [passed, failed] = [0, 0];
for (const signal of ["SIGINT", "SIGTERM"])
  process.on(signal, () => {
    endAll();
    process.exit(1);
  });

await report("k6-types", () => run(join(HERE, "node_modules", ".bin", "tsc"), ["-p", SCRIPTS]));
await report("k6-thresholds-can-fail", thresholdsCanFail);
const edge = await Edge.start("sallyport-k6");
try {
  for (const [name, settings] of Object.entries(SETTINGS)) await report(`k6-${name}`, () => script(name, settings));
  await report("k6-a-threshold-that-fails", () => mustFail("sign-in", { ...SETTINGS["sign-in"], SIGN_IN_P95_MS: "0.001" }, "sign_in_ms"));
} finally {
  await report("k6-edge-stops", () => edge.stop());
}
console.log(`clients: ${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

/** The shim's own arithmetic. */
async function thresholdsCanFail() {
  const metrics = new Map([
    ["ms", { type: "trend", values: [4, 1, 3, 2] }],
    ["good", { type: "rate", values: [1, 1, 0, 1] }],
    ["count", { type: "counter", values: [1, 2] }],
  ]);
  const held = { ms: ["p(50)<=2", "max<5", "avg<3"], good: ["rate>0.7"], count: ["count==3"] };
  const broken = { ms: ["p(99)<4"], good: ["rate==1"], count: ["count<3"], absent: ["count==0"] };
  if (unmet(held, metrics).length !== 0) throw new Error(`these hold: ${unmet(held, metrics)}`);
  if (unmet(broken, metrics).length !== 4) throw new Error(`these do not hold: ${unmet(broken, metrics)}`);
}

function script(name, settings) {
  const shim = ["--import", join(HERE, "register.mjs"), join(HERE, "shim.mjs"), join(SCRIPTS, `${name}.js`)];
  return run(process.execPath, shim, { ...process.env, EDGE: edge.origin, ...settings });
}

async function mustFail(name, settings, metric) {
  const error = await script(name, settings).then(() => null, (error) => error);
  if (!error?.message.includes(`${metric}: `)) throw new Error(`it does not fail by ${metric}: ${error?.message}`);
}

async function run(program, args, env = process.env) {
  try {
    await promisify(execFile)(program, args, { env, timeout: RUN_WITHIN_MS });
  } catch (error) {
    throw new Error(`exit code ${error.code}\n${`${error.stdout}${error.stderr}`.split("\n").slice(-30).join("\n")}`);
  }
}

async function report(name, work) {
  try {
    await work();
    passed += 1;
    console.log(`${name} ok`);
  } catch (error) {
    failed += 1;
    console.log(`${name} FAILED\n${error.message.trimEnd().replace(/^/gm, "  | ")}`);
  }
}
