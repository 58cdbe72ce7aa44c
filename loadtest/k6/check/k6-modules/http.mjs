// `k6/http`: a request blocks its VU until the answer is whole. Another thread sends it; this one sleeps meanwhile.

import { MessageChannel, Worker, receiveMessageOnPort } from "node:worker_threads";
import { sample } from "./state.mjs";

const DEFAULT_TIMEOUT_MS = 60_000;

const awake = new Int32Array(new SharedArrayBuffer(4));
const { port1: port, port2: theirs } = new MessageChannel();
const sender = new Worker(new URL("../sender.mjs", import.meta.url), { workerData: { port: theirs, awake }, transferList: [theirs] });
sender.unref();
// It wakes us once when it is there, or the VU's first call would be as late as that.
asleep();

function request(method, url, body, params = {}) {
  // What is not here would be left out in silence.
  const unknown = Object.keys(params).filter((name) => !["headers", "cookies", "jar", "redirects", "timeout", "responseCallback"].includes(name));
  if (unknown.length > 0) throw new Error(`the shim knows no ${unknown} of a request`);
  const headers = { ...params.headers };
  const cookies = Object.entries(params.cookies ?? {}).map(([name, value]) => `${name}=${value}`);
  if (cookies.length > 0) headers.cookie = cookies.join("; ");
  let content = body ?? null;
  if (content !== null && typeof content === "object") {
    content = new URLSearchParams(content).toString();
    headers["content-type"] ??= "application/x-www-form-urlencoded";
  }
  const answer = exchange({ method, url, headers, body: content, timeout: milliseconds(params.timeout) });
  const expected = params.responseCallback ?? expectedStatuses({ min: 200, max: 399 });
  sample("http_reqs", "counter", 1);
  sample("http_req_duration", "trend", answer.timings.duration);
  sample("http_req_failed", "rate", !expected(answer.status));
  if (params.redirects !== 0 && answer.status >= 300 && answer.status < 400 && answer.headers.Location)
    throw new Error("the shim follows no redirect: say redirects: 0");
  answer.json = (selector) => {
    const value = JSON.parse(answer.body);
    return selector === undefined ? value : value[selector];
  };
  return answer;
}

function exchange(wish) {
  Atomics.store(awake, 0, 0);
  port.postMessage(wish);
  asleep();
  const answer = receiveMessageOnPort(port);
  if (!answer) throw new Error("the sender woke us without an answer");
  return answer.message;
}

/** Until the sender wakes us. The call of the answer before may come late: only the value says that this one is there. */
function asleep() {
  while (Atomics.load(awake, 0) === 0) Atomics.wait(awake, 0, 0);
}

function milliseconds(text) {
  if (text === undefined) return DEFAULT_TIMEOUT_MS;
  const seconds = /^(\d+)s$/.exec(text);
  if (!seconds) throw new Error(`the shim reads whole seconds only, not ${text}`);
  return Number(seconds[1]) * 1000;
}

function expectedStatuses(...wanted) {
  return (status) => wanted.some((each) => (typeof each === "number" ? each === status : each.min <= status && status <= each.max));
}

/** Every script keeps its cookies itself. */
class CookieJar {}

const get = (url, params) => request("GET", url, null, params);
const post = (url, body, params) => request("POST", url, body, params);

export default { get, post, expectedStatuses, CookieJar };
