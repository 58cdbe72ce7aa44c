// An edge that falls on hard times: its store, a redis-server of its own, loses everything, and its key ring is rotated.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort, until } from "./checks.mjs";
import { Edge } from "./edge.mjs";
import { launch, stop, tail } from "./programs.mjs";

const READY_WITHIN_MS = 60_000;
const ANSWER_WITHIN_MS = 60_000;
/** For so long the edge does not look up again what it has at hand (docs/security.md, "How soon an end counts"). */
const AT_HAND_MS = 30_500;

/** The stages of a client's life at such an edge, each with what befalls the edge before it. */
export const STAGES = [
  { stage: "signed-in" },
  { stage: "wiped", event: "store-wipe", befalls: (edge) => edge.wipe() },
  { stage: "rotated", event: "key-rotation", befalls: (edge) => edge.rotate() },
];

export class TroubledEdge {
  #folder = mkdtempSync(join(tmpdir(), "sallyport-clients-"));
  #store;
  #edge;

  static async start() {
    const it = new TroubledEdge();
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

  /** A folder of this name, for a client's memory; gone with the edge. */
  folder(name) {
    return mkdtempSync(join(this.#folder, `${name}-`));
  }

  /** FLUSHALL: every session, code and sign-in under way is lost. The edge knows when this returns. */
  async wipe() {
    if ((await this.#size()) === 0) throw new Error("the store is empty already: nothing was kept in it");
    await this.#command("FLUSHALL", /^\+OK/);
    if ((await this.#size()) !== 0) throw new Error("the store is not empty after FLUSHALL");
    await sleep(AT_HAND_MS);
  }

  /** The next key comes into the ring, then becomes the active one; the running edge takes both steps. */
  async rotate() {
    await this.#keys("rotate", "--now");
    await this.#edge.says('sallyport_keyring_keys{state="next"} 1');
    await this.#keys("rotate", "--now");
    await this.#edge.says('sallyport_keyring_keys{state="next"} 0');
    await this.#edge.says('sallyport_keyring_keys{state="open-only"} 1');
  }

  async stop() {
    try {
      await this.#edge?.stop();
    } finally {
      if (this.#store) await stop(this.#store.child);
      rmSync(this.#folder, { recursive: true, force: true });
    }
  }

  async #start() {
    const port = await freePort();
    const args = ["--bind", "127.0.0.1", "--port", String(port), "--save", "", "--appendonly", "no", "--dir", this.#folder];
    this.#store = { port, child: launch("redis-server", ["redis-server", ...args]) };
    await until("redis-server answers", READY_WITHIN_MS, () => this.#isUp());
    this.#edge = await Edge.start("sallyport-troubled", "--keys", this.#ring, "--store", `redis://127.0.0.1:${port}`);
  }

  get #ring() {
    return join(this.#folder, "keys.json");
  }

  async #isUp() {
    const { child } = this.#store;
    if (child.pid === undefined) throw new Error("redis-server cannot be started: is it installed?");
    if (child.exitCode !== null) throw new Error(`redis-server does not run\n${tail(child.log)}`);
    return this.#command("PING", /^\+PONG/).catch(() => null);
  }

  async #size() {
    return Number((await this.#command("DBSIZE", /^:(\d+)/))[1]);
  }

  /** One command on a connection of its own; throws unless the answer is as expected. */
  async #command(command, expected) {
    const answer = await new Promise((resolve, reject) => {
      const socket = net.connect(this.#store.port, "127.0.0.1", () => socket.write(`${command}\r\n`));
      socket.setTimeout(ANSWER_WITHIN_MS, () => socket.destroy(new Error(`${command}: no answer in time`)));
      socket.on("error", reject);
      socket.once("data", (data) => {
        socket.destroy();
        resolve(data.toString());
      });
    });
    const found = expected.exec(answer);
    if (!found) throw new Error(`${command}: ${answer}`);
    return found;
  }

  async #keys(...what) {
    await promisify(execFile)(process.env.SALLYPORT_BIN, ["keys", ...what, "--file", this.#ring]);
  }
}
