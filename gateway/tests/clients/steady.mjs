// One client that signs in at an edge that is there already, and then connects and calls again and again, until its folder has a
// file `stop`. A call that fails ends it. Usage: steady.mjs DRIVER FOLDER, with SALLYPORT_ORIGIN; a driver built on an official SDK

import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DRIVERS } from "./drivers.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const WITHIN_MS = 300_000;

const [name, folder] = process.argv.slice(2);
const { program, file, path, rest } = DRIVERS[name];
const { status, error } = spawnSync(program, [join(HERE, file), `${process.env.SALLYPORT_ORIGIN}${path}`, ...rest, "steady", folder], {
  cwd: HERE,
  stdio: "inherit",
  timeout: WITHIN_MS,
});
if (error) console.error(error.message);
process.exit(status ?? 1);
