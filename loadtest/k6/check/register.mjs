// Lets scripts import k6's modules: each name is a file of k6-modules/. Loaded before anything else, in every thread.

import { register } from "node:module";

const hook = `export function resolve(name, context, next) {
  const found = /^k6(?:\\/([a-z]+))?$/.exec(name);
  return found ? { url: new URL((found[1] ?? "k6") + ".mjs", ${JSON.stringify(new URL("k6-modules/", import.meta.url).href)}).href, shortCircuit: true } : next(name, context);
}`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
