// What the modules share within one thread: where samples go, and the sign of a failed expectation.

/** @type {{ metric: string, type: string, value: number }[]} */
let samples = [];

export function sample(metric, type, value) {
  samples.push({ metric, type, value: Number(value) });
}

/** The samples since the last call. */
export function taken() {
  const taken = samples;
  samples = [];
  return taken;
}
