// Sends one request at a time for a VU, and wakes it with the answer; first of all to say that it is there.

import http from "node:http";
import { performance } from "node:perf_hooks";
import { workerData } from "node:worker_threads";

const { port, awake } = workerData;
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
/** k6's codes for errors. */
const [TIMED_OUT, OTHER] = [1050, 1000];

port.on("message", async (wish) => {
  port.postMessage(await exchange(wish));
  wake();
});
wake();

function wake() {
  Atomics.store(awake, 0, 1);
  Atomics.notify(awake, 0);
}

function exchange({ method, url, headers, body, timeout }) {
  return new Promise((resolve) => {
    const begun = performance.now();
    const answer = (status, more) =>
      resolve({ status, headers: {}, cookies: {}, body: null, error_code: 0, timings: { duration: performance.now() - begun }, ...more });
    const length = body === null ? {} : { "content-length": Buffer.byteLength(body) };
    const request = http.request(url, { method, agent, headers: { ...headers, ...length } }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", (error) => answer(0, { error_code: error.code === "TIMEOUT" ? TIMED_OUT : OTHER }));
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        answer(response.statusCode, { headers: canonical(response.rawHeaders), cookies: cookies(response.headers["set-cookie"] ?? []), body: text });
      });
    });
    const timer = setTimeout(() => request.destroy(Object.assign(new Error("no time left"), { code: "TIMEOUT" })), timeout);
    request.on("close", () => clearTimeout(timer));
    request.on("error", (error) => answer(0, { error_code: error.code === "TIMEOUT" ? TIMED_OUT : OTHER }));
    request.end(body ?? undefined);
  });
}

/** As Go writes names: Www-Authenticate. Several of one name are one, with commas. */
function canonical(raw) {
  const headers = {};
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index].toLowerCase().replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
    headers[name] = name in headers ? `${headers[name]}, ${raw[index + 1]}` : raw[index + 1];
  }
  return headers;
}

function cookies(lines) {
  const found = {};
  for (const line of lines) {
    const pair = line.split(";")[0];
    const [name, value] = [pair.slice(0, pair.indexOf("=")).trim(), pair.slice(pair.indexOf("=") + 1)];
    (found[name] ??= []).push({ name, value });
  }
  return found;
}
