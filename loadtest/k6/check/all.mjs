// Checks every script: its types, then a run against `sallyport dev`, unmodified, through the shim. `../test` prepares this.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expiredTokens, hasRedis, startRedis } from "./expired.mjs";
import { failed as unmet } from "./thresholds.mjs";
import { Edge } from "../../../gateway/tests/clients/edge.mjs";
import { endAll } from "../../../gateway/tests/clients/programs.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const SCRIPTS = join(HERE, "..");
const RUN_WITHIN_MS = 120_000;
/** Short, few, and with bounds that a busy machine and an unoptimised build keep: the scripts are tested, not the edge. Two calls a
 * second by eight callers: none is dropped unless calls take four seconds, and none may be. */
const AT_RATE = { DROPPED: "0", SECONDS: "5", RATE: "2", VUS: "8" };
const SETTINGS = {
  smoke: {},
  "hot-path": { ...AT_RATE, SESSIONS: "4", WARM_P99_MS: "5000", COLD_P99_MS: "5000", MIXED_P99_MS: "5000" },
  "sign-in": { SECONDS: "2", VUS: "2", SIGN_IN_P95_MS: "10000" },
  "token-storm": { ...AT_RATE, VALID_P99_MS: "5000", REFUSAL_P99_MS: "5000" },
  streams: { HOLD_SECONDS: "2", STREAMS: "4" },
};
/** How many iterations each scenario must have had: thresholds hold for one call as for many. */
const LEAST = {
  smoke: { default: 1 },
  "hot-path": { cold: 4, warm: 10, mixed: 10 },
  "sign-in": { sign_ins: 2 },
  "token-storm": { valid: 10, forged: 10 },
  streams: { streams: 4 },
};

let [passed, failed, skipped] = [0, 0, 0];
const folder = mkdtempSync(join(tmpdir(), "sallyport-k6-"));
process.on("exit", () => {
  endAll();
  rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

await report("k6-types", () => run(join(HERE, "node_modules", ".bin", "tsc"), ["-p", SCRIPTS]));
await report("k6-thresholds-can-fail", thresholdsCanFail);
await report("k6-too-few-iterations-fail", tooFewFail);
const ring = join(folder, "keys.json");
const redis = hasRedis() ? await startRedis(folder) : null;
const edge = await Edge.start("sallyport-k6", "--keys", ring, ...(redis ? ["--store", redis.url] : []));
try {
  for (const name of ["smoke", "hot-path", "sign-in", "streams"]) await report(`k6-${name}`, () => whole(name));
  if (redis) {
    await report("k6-token-storm", stormWithExpired);
  } else {
    await report("k6-token-storm", () => whole("token-storm"));
    skipped += 1;
    console.log("SKIPPED k6-token-storm's expired tokens: redis-server is not installed (SALLYPORT_REQUIRE_REDIS=1 makes this a failure)");
  }
  await report("k6-a-threshold-that-fails", () => mustFail("sign-in", { ...SETTINGS["sign-in"], SIGN_IN_P95_MS: "0.001" }, "sign_in_ms: "));
  await report("k6-bad-settings-are-refused", badSettings);
} finally {
  await report("k6-edge-stops", () => edge.stop());
  await redis?.stop();
}
console.log(`clients: ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed === 0 ? 0 : 1);

/** The shim's own arithmetic. */
async function thresholdsCanFail() {
  const metrics = new Map([
    ["ms", { type: "trend", values: [4, 1, 3, 2] }],
    ["good", { type: "rate", values: [1, 1, 0, 1] }],
    ["count", { type: "counter", values: [1, 2] }],
  ]);
  // The one metric that may have no sample.
  const none = { dropped_iterations: ["count<=0"] };
  const held = { ...none, ms: ["p(50)<=2", "max<5", "avg<3"], good: ["rate>0.7"], count: ["count==3"] };
  const broken = { ms: ["p(99)<4"], good: ["rate==1"], count: ["count<3"], absent: ["count==0"] };
  if (unmet(held, metrics).length !== 0) throw new Error(`these hold: ${unmet(held, metrics)}`);
  if (unmet(broken, metrics).length !== 4) throw new Error(`these do not hold: ${unmet(broken, metrics)}`);
  metrics.set("dropped_iterations", { type: "counter", values: [1] });
  if (unmet(none, metrics).length !== 1) throw new Error("an iteration was dropped");
}

async function tooFewFail() {
  const output = "scenario cold: 4 iterations\nscenario warm: 1 iterations\n";
  if (lacking(output, { cold: 4, warm: 1 }).length !== 0) throw new Error("they are enough");
  if (lacking(output, { cold: 5, warm: 2, mixed: 1 }).length !== 3) throw new Error("they are too few");
}

/** Every kind of setting, wrong. */
async function badSettings() {
  const sessions = join(folder, "sessions.jsonl");
  writeFileSync(sessions, '{"access_token":"sp1_at_x","expires_at":1}\n');
  await mustFail("hot-path", { SECONDS: "2.5" }, "SECONDS must be a whole number, 1 or more");
  await mustFail("token-storm", { DROPPED: "-1" }, "DROPPED must be a whole number, 0 or more");
  await mustFail("sign-in", { SIGN_IN_P95_MS: "0" }, "SIGN_IN_P95_MS must be a number above 0");
  await mustFail("token-storm", { EXPIRED: sessions }, "EXPIRED: line 1 of the file is no token");
}

/** With tokens that have run out. The edge refuses all bad tokens alike: only its metrics say that it knew them and why it did not let them in. */
async function stormWithExpired() {
  const file = await expiredTokens({ folder, origin: edge.origin, redis: redis.url, ring });
  const sent = Number(AT_RATE.RATE) * Number(AT_RATE.SECONDS);
  await whole("token-storm", { EXPIRED: file }, { expired: sent });
  await edge.says(`sallyport_token_rejected_total{reason="expired"} ${sent}`);
}

/** A run in which every scenario had its iterations. */
async function whole(name, settings = {}, least = {}) {
  const output = await script(name, { ...SETTINGS[name], ...settings });
  const few = lacking(output, { ...LEAST[name], ...least });
  if (few.length > 0) throw new Error(`too few iterations of ${few}\n${output}`);
}

/** The scenarios of which the shim says that they had fewer iterations. */
function lacking(output, least) {
  const seen = (name) => Number(new RegExp(`^scenario ${name}: (\\d+) iterations$`, "m").exec(output)?.[1] ?? 0);
  return Object.keys(least).filter((name) => seen(name) < least[name]);
}

/** Answers what it says. */
function script(name, settings) {
  const shim = ["--import", join(HERE, "register.mjs"), join(HERE, "shim.mjs"), join(SCRIPTS, `${name}.js`)];
  return run(process.execPath, shim, { ...process.env, EDGE: edge.origin, ...settings });
}

async function mustFail(name, settings, words) {
  const error = await script(name, settings).then(() => null, (error) => error);
  if (!error?.message.includes(words)) throw new Error(`it does not fail with "${words}": ${error?.message}`);
}

async function run(program, args, env = process.env) {
  try {
    return (await promisify(execFile)(program, args, { env, timeout: RUN_WITHIN_MS })).stdout;
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
