// `k6/metrics`.

import { sample } from "./state.mjs";

class Metric {
  constructor(type, name) {
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name)) throw new Error(`${name} is no name of a metric`);
    Object.assign(this, { type, name });
  }

  add(value) {
    sample(this.name, this.type, value);
  }
}

export class Counter extends Metric {
  constructor(name) {
    super("counter", name);
  }
}

export class Rate extends Metric {
  constructor(name) {
    super("rate", name);
  }
}

export class Trend extends Metric {
  constructor(name) {
    super("trend", name);
  }
}
