// k6's thresholds, such as `p(99)<50`: an aggregation, a comparison, a number.

const COMPARE = {
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
  "==": (a, b) => a === b,
};

/** What is good when it never comes: k6 emits it only when it drops an iteration. Of any other metric it means that nothing was measured. */
const NONE_IS_GOOD = { dropped_iterations: { type: "counter", values: [] } };

/**
 * Says which do not hold; without a sample none does.
 * @param {Record<string, string[]>} thresholds
 * @param {Map<string, { type: string, values: number[] }>} metrics
 */
export function failed(thresholds, metrics) {
  const failures = [];
  for (const [name, expressions] of Object.entries(thresholds)) {
    const metric = metrics.get(name) ?? NONE_IS_GOOD[name];
    if (!metric) {
      failures.push(`no sample of ${name}, which has a threshold`);
      continue;
    }
    for (const expression of expressions) {
      const seen = holds(expression, metric);
      if (seen !== null) failures.push(`${name}: ${expression} does not hold; seen: ${seen}`);
    }
  }
  return failures;
}

function holds(expression, metric) {
  const parts = /^([a-z]+(?:\([\d.]+\))?)(<=|>=|==|<|>)([\d.]+)$/.exec(expression.replace(/\s/g, ""));
  if (!parts) throw new Error(`${expression} is no threshold`);
  const seen = aggregate(parts[1], metric);
  return COMPARE[parts[2]](seen, Number(parts[3])) ? null : seen;
}

function aggregate(what, { type, values }) {
  const sum = values.reduce((sum, value) => sum + value, 0);
  if (type === "counter" && what === "count") return sum;
  if (type === "rate" && what === "rate") return sum / values.length;
  if (type === "trend") {
    const sorted = [...values].sort((a, b) => a - b);
    if (what === "avg") return sum / values.length;
    if (what === "max") return sorted[sorted.length - 1];
    const percentile = /^p\(([\d.]+)\)$/.exec(what);
    if (percentile) return sorted[Math.ceil((Number(percentile[1]) / 100) * sorted.length) - 1];
  }
  throw new Error(`a ${type} has no ${what}`);
}
