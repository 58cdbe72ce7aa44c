// Tokens that have run out, for token-storm. Nobody waits for an hour: `bench-sessions`, which is the gateway's own code, begins
// sessions of three hours ago in the Redis and under the key ring of the edge.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { freePort, until } from "../../../gateway/tests/clients/checks.mjs";
import { launch, stop, succeeds, tail } from "../../../gateway/tests/clients/programs.mjs";

const WITHIN_MS = 60_000;
const COUNT = 20;
/** The stand-in's, which is fixed. */
const TENANT = "7c0f1e5a-3b52-4c1e-9a57-0d6f2b8e4a10";

/** Whether this machine has a redis-server. Throws when it must. */
export function hasRedis() {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
    return true;
  } catch (error) {
    const { CI, SALLYPORT_REQUIRE_REDIS } = process.env;
    if (error.code !== "ENOENT" || CI || SALLYPORT_REQUIRE_REDIS) throw error;
    return false;
  }
}

/** A redis-server of the check's own, which writes nothing to disk. */
export async function startRedis(folder) {
  const port = await freePort();
  const args = ["--bind", "127.0.0.1", "--port", String(port), "--save", "", "--appendonly", "no", "--dir", folder];
  const child = launch("redis-k6", ["redis-server", ...args]);
  await until("redis-server answers", WITHIN_MS, () => {
    if (child.exitCode !== null) throw new Error(`redis-server does not run\n${tail(child.log)}`);
    return answers(port);
  });
  return { url: `redis://127.0.0.1:${port}`, stop: () => stop(child) };
}

/** Makes the file that token-storm reads, and answers its path. @param {{ folder: string, origin: string, redis: string, ring: string }} */
export async function expiredTokens({ folder, origin, redis, ring }) {
  const sessions = join(folder, "expired.jsonl");
  const edge = ["--public-url", origin, "--tenant", TENANT, "--redis", redis, "--keys", ring];
  const program = [process.env.BENCH_SESSIONS_BIN, ...edge, "--expired", "--sessions", String(COUNT), "--out", sessions];
  await succeeds("sessions of three hours ago", WITHIN_MS, launch("bench-sessions-k6", program));
  const tokens = readFileSync(sessions, "utf8").trim().split("\n").map((line) => JSON.parse(line).access_token);
  const file = join(folder, "expired");
  writeFileSync(file, tokens.join("\n") + "\n", { mode: 0o600 });
  return file;
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.setTimeout(1000, () => socket.destroy());
    socket.on("error", () => {});
    socket.on("data", () => socket.destroy());
    socket.on("close", () => resolve(socket.bytesRead > 0));
  });
}
