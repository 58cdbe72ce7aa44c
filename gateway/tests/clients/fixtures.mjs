// `everything-server`, what the conformance suite wants to see, twice: one to be asked directly, one behind an edge of its own.

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { freePort, until } from "./checks.mjs";
import { Edge } from "./edge.mjs";
import { launch, stop, tail } from "./programs.mjs";

const READY_WITHIN_MS = 60_000;
const BUILD = "cargo build --workspace --features sallyport-mcp-server/conformance --bin everything-server";

export class Fixtures {
  #servers = [];
  #edge;

  static async start() {
    const it = new Fixtures();
    try {
      await it.#start();
      return it;
    } catch (error) {
      await it.stop().catch(() => {});
      throw error;
    }
  }

  get origin() {
    return this.#edge.origin;
  }

  /** The same server without an edge. */
  get direct() {
    return this.#servers[0].url;
  }

  async stop() {
    try {
      await this.#edge?.stop();
    } finally {
      await Promise.all(this.#servers.map(({ child }) => stop(child)));
    }
  }

  async #start() {
    const program = join(dirname(process.env.SALLYPORT_BIN), "everything-server");
    if (!existsSync(program)) throw new Error(`there is no ${program}: ${BUILD}`);
    // Two of them: what the runs do to lists and sessions must not meet.
    for (const place of ["direct", "behind"]) this.#servers.push(await serve(program, `everything-server-${place}`));
    this.#edge = await Edge.start("sallyport-fixtures", "--upstream", this.#servers[1].url);
  }
}

async function serve(program, name) {
  const port = await freePort();
  const child = launch(name, [program, "--port", String(port)]);
  const url = `http://localhost:${port}/mcp`;
  await until(`${name} answers`, READY_WITHIN_MS, () => {
    if (child.exitCode !== null) throw new Error(`${name} does not run\n${tail(child.log)}`);
    return fetch(url).catch(() => null);
  });
  return { child, url };
}
