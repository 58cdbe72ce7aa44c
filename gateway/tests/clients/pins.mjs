// The versions the tests install, read where they are pinned.

import { readFileSync } from "node:fs";

const read = (name) => readFileSync(new URL(name, import.meta.url), "utf8");

/**
 * The exact version of a client; throws where the pin is none.
 * @param {{package: string, requirements?: string}} client from PyPI with `requirements`, else from npm
 */
export function pinned({ package: name, requirements }) {
  const version = requirements ? fromRequirements(name, requirements) : JSON.parse(read("package.json")).dependencies[name];
  if (!/^\d+\.\d+\.\d+[-\w.]*$/.test(version ?? "")) throw new Error(`${name} is not pinned to one version: ${version}`);
  return version;
}

function fromRequirements(name, file) {
  const line = read(file)
    .split("\n")
    .find((each) => each.startsWith(`${name}==`));
  return line?.split("==")[1].trim();
}
