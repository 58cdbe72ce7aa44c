// MCP over a program's standard input and output, by hand: one JSON-RPC message per line.

import { createInterface } from "node:readline";
import { within } from "./checks.mjs";

const ANSWER_WITHIN_MS = 60_000;

/** Speaks to the server that `child` is. */
export class Stdio {
  #child;
  #waiting = new Map();
  #next = 1;

  constructor(child) {
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => {
      const message = JSON.parse(line);
      this.#waiting.get(message.id)?.(message);
    });
  }

  /** Answers the result; throws at an error or none in time. */
  async request(method, params = {}) {
    const id = this.#next++;
    const answer = new Promise((resolve) => this.#waiting.set(id, resolve));
    this.#send({ id, method, params });
    const { result, error } = await within(`${method} is answered`, ANSWER_WITHIN_MS, answer);
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  /** The handshake; answers what the server says of itself. */
  async initialize() {
    const clientInfo = { name: "client-test", version: "1.0.0" };
    const answer = await this.request("initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo });
    this.#send({ method: "notifications/initialized" });
    return answer;
  }

  #send(message) {
    this.#child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }
}
