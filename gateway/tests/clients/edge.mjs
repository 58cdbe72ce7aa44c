// `sallyport dev` on free ports, as the drivers meet it.

import { freePort, until, within } from "./checks.mjs";
import { end, launch, tail } from "./programs.mjs";

const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 60_000;
const CHANGE_WITHIN_MS = 60_000;

export class Edge {
  #child;

  constructor(child, port, adminPort) {
    this.#child = child;
    this.admin = `http://127.0.0.1:${adminPort}`;
    this.origin = `http://localhost:${port}`;
  }

  /** Starts one and waits until it is ready; `name` is that of its log. */
  static async start(name, ...options) {
    const [port, adminPort] = [await freePort(), await freePort()];
    const child = launch(name, [process.env.SALLYPORT_BIN, "dev", "--port", String(port), "--admin-port", String(adminPort), ...options]);
    const edge = new Edge(child, port, adminPort);
    try {
      await until("sallyport dev is ready", READY_WITHIN_MS, () => edge.#isReady());
      return edge;
    } catch (error) {
      end(child, "SIGKILL");
      throw new Error(`${error.message}\n${tail(child.log)}`);
    }
  }

  /** SIGTERM must end it with exit code 0. */
  async stop() {
    const child = this.#child;
    if (child.exitCode !== null) throw new Error(`it ended by itself with ${child.exitCode}\n${tail(child.log)}`);
    child.kill("SIGTERM");
    try {
      const code = await within("sallyport dev stops on SIGTERM", STOP_WITHIN_MS, child.ended);
      if (code !== 0) throw new Error(`exit code ${code}\n${tail(child.log)}`);
    } finally {
      end(child, "SIGKILL");
    }
  }

  /** Waits until its metrics have this line. */
  async says(line) {
    await until(`the metrics say ${line}`, CHANGE_WITHIN_MS, async () => (await this.#metrics()).split("\n").includes(line));
  }

  async #metrics() {
    return (await fetch(`${this.admin}/metrics`)).text();
  }

  async #isReady() {
    if (this.#child.exitCode !== null) throw new Error(`sallyport dev ended with ${this.#child.exitCode}`);
    const answer = await fetch(`${this.admin}/readyz`).catch(() => null);
    return answer?.ok;
  }
}
