// Starts `sallyport dev` on free ports, runs every driver against it, stops it, counts. `run` prepares what this needs.
// Usage: all.mjs [--table] [driver name …]; --table writes docs/compatibility.md from a whole run. With SALLYPORT_ORIGIN the named
// drivers meet the edge that is there.

import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DRIVERS, clients } from "./drivers.mjs";
import { Edge } from "./edge.mjs";
import { Fixtures } from "./fixtures.mjs";
import { STAGES, TroubledEdge } from "./hardships.mjs";
import { endAll, launch, succeeds } from "./programs.mjs";
import { checkPage, checkPins, render, write } from "./table.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
/** This limit, like those of the drivers, is for what hangs, and is many times what a machine at rest takes. */
const DRIVER_WITHIN_MS = 600_000;

let passed = 0;
let failed = 0;
/** What passed, for the compatibility table: `{ client, transport, shown }`. */
const results = [];

for (const signal of ["SIGINT", "SIGTERM"])
  process.on(signal, () => {
    endAll();
    process.exit(1);
  });

mkdirSync(process.env.ARTIFACTS, { recursive: true });
const versions = clients();
const { names, table } = chosen(process.argv.slice(2));
const survivors = names.filter((name) => DRIVERS[name].survives);
const beforeFixtures = names.filter((name) => DRIVERS[name].fixtures);
await inGoodTimes(names.filter((name) => !survivors.includes(name) && !beforeFixtures.includes(name)));
if (beforeFixtures.length > 0) await withFixtures(beforeFixtures);
if (survivors.length > 0) await inHardTimes(survivors);
if (table && failed === 0) write(render(results));
await report("compatibility-table", () => checkTable());
console.log(`clients: ${passed} passed, ${failed} failed`);
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

async function inGoodTimes(names) {
  const begun = Date.now();
  if (process.env.SALLYPORT_ORIGIN) {
    for (const name of names) await report(name, () => runDriver(name, name, process.env.SALLYPORT_ORIGIN));
    return;
  }
  const edge = await started("sallyport", () => Edge.start("sallyport"));
  if (!edge) return;
  for (const [index, name] of names.entries()) {
    await report(name, () => runDriver(name, name, edge.origin, ...(DRIVERS[name].admin ? [edge.admin] : [])));
    if (index === 0 && passed === 1) console.log(`the first tool call was made within ${((Date.now() - begun) / 1000).toFixed(1)} s of the start`);
  }
  await report("graceful-stop", () => edge.stop());
}

/** At an edge whose server is the conformance suite's fixtures; the drivers also get the address of the same without an edge. */
async function withFixtures(names) {
  const fixtures = await started("sallyport-fixtures", () => Fixtures.start());
  if (!fixtures) return;
  for (const name of names) await report(name, () => runDriver(name, name, fixtures.origin, fixtures.direct));
  await report("graceful-stop-fixtures", () => fixtures.stop());
}

/** Stage by stage, all clients in each: the store is wiped once and the ring rotated once. */
async function inHardTimes(names) {
  const edge = await started("sallyport-troubled", () => TroubledEdge.start());
  if (!edge) return;
  const folders = Object.fromEntries(names.map((name) => [name, edge.folder(name)]));
  let alive = names;
  for (const { stage, event, befalls } of STAGES) {
    if (event && !(await report(event, () => befalls(edge)))) break;
    const before = alive;
    alive = [];
    for (const name of before) {
      const run = `${name}-${stage}`;
      if (await report(run, () => runDriver(name, run, edge.origin, stage, folders[name]))) alive.push(name);
    }
  }
  await report("graceful-stop-troubled", () => edge.stop());
}

/** The edge, or null when it does not start, which is a failure. */
async function started(name, start) {
  let edge = null;
  try {
    edge = await start();
  } catch (error) {
    await report(name, () => Promise.reject(error));
  }
  return edge;
}

/** What has failed is not in the results, and said already: then, as in a run of some drivers, only the pins are compared. */
function checkTable() {
  checkPins(versions);
  const whole = names.length === Object.keys(DRIVERS).length;
  if (whole && failed === 0) checkPage(render(results));
}

/** Does the work, says how it went, counts it. Answers whether it went well. */
async function report(name, work) {
  const begun = Date.now();
  try {
    await work();
    passed += 1;
    console.log(`${name} ok (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    failed += 1;
    console.log(`${name} FAILED\n${error.message.trimEnd().replace(/^/gm, "  | ")}`);
    return false;
  }
}

async function runDriver(name, logName, origin, ...more) {
  const { program, file, path, rest, client, transport } = DRIVERS[name];
  const child = launch(logName, [program, join(HERE, file), `${origin}${path}`, ...rest, ...more]);
  await succeeds(`${name} ends`, DRIVER_WITHIN_MS, child);
  if (client) results.push({ client: versions.find((each) => each.name === client.name), transport, shown: shownIn(child.log) });
}

function shownIn(log) {
  return [...readFileSync(log, "utf8").matchAll(/^shown: (.+)$/gm)].map(([, what]) => what);
}
