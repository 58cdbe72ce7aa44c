// The verdicts of two runs of the conformance suite, one directly at a server and one through the edge, side by side.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** For each revision how many scenarios there are, and how many checks must pass directly, or the comparison says little. */
export const REVISIONS = [
  { revision: "2025-11-25", scenarios: 33, passing: 84 },
  { revision: "2026-07-28", scenarios: 50, passing: 197 },
];

/** What the compatibility table says of them. */
export const alike = ({ revision, scenarios }) => `${scenarios} scenarios of ${revision} as without the edge`;

/** A run's verdicts, from its folder of results: scenario to its checks, but for mere information. */
export function verdicts(folder) {
  const scenarios = new Map();
  for (const name of readdirSync(folder)) {
    const scenario = /^server-(.+)-\d{4}-\d\d-\d\dT[-\d]+Z$/.exec(name)?.[1];
    if (!scenario) throw new Error(`what is ${name} among the results?`);
    const checks = JSON.parse(readFileSync(join(folder, name, "checks.json"), "utf8"));
    scenarios.set(scenario, checks.filter(({ status }) => status !== "INFO"));
  }
  return scenarios;
}

/**
 * Where two runs differ: `{ scenario, check, direct, through, saying }`, check by check. `direct` and `through` are the sorted
 * verdicts of all checks with that id, `saying` is what the suite complained of through the edge.
 */
export function differences(direct, through) {
  const found = [];
  for (const scenario of union(direct, through)) {
    const [one, other] = [byId(direct.get(scenario)), byId(through.get(scenario))];
    for (const check of union(one, other)) {
      const [was, is] = [one, other].map((checks) => statuses(checks.get(check)));
      if (was !== is) found.push({ scenario, check, direct: was, through: is, saying: complaints(other.get(check)) });
    }
  }
  return found;
}

/** The checks of a run that have one of these verdicts. */
export function having(run, ...wanted) {
  return [...run.values()].flat().filter(({ status }) => wanted.includes(status));
}

function byId(checks = []) {
  const ids = new Map();
  for (const check of checks) ids.set(check.id, [...(ids.get(check.id) ?? []), check]);
  return ids;
}

function statuses(checks) {
  return checks ? checks.map(({ status }) => status).sort().join(" ") : "not there";
}

function complaints(checks = []) {
  return checks.flatMap(({ errorMessage }) => errorMessage ?? []).join("; ");
}

function union(one, other) {
  return new Set([...one.keys(), ...other.keys()]);
}
