// Checks custom resources: unknown and misspelt keys by their TypeScript types, values by their schemas.
// Usage: node custom_resources.mjs FILE, where FILE holds a JSON array of resources. Silent when all is well.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const modules = {
  HTTPRoute: "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute",
  ServiceMonitor: "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
};
const resources = JSON.parse(readFileSync(process.argv[2], "utf8"));

// A literal, since the compiler complains of unknown keys in literals only.
const folder = mkdtempSync(join(here, "typed-"));
try {
  const source = resources.map(({ kind, ...rest }, index) => {
    if (!modules[kind]) throw new Error(`no types for ${kind}`);
    const literal = JSON.stringify({ kind, ...rest });
    return `import type { I${kind} as T${index} } from "${modules[kind]}";\nexport const r${index}: T${index} = ${literal};\n`;
  });
  const file = join(folder, "resources.ts");
  writeFileSync(file, source.join("\n"));
  const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"];
  const compiler = join(here, "node_modules", ".bin", "tsc");
  const done = spawnSync(compiler, [...options, "--ignoreConfig", file], { encoding: "utf8" });
  if (done.status !== 0) {
    console.error(done.stdout || done.error);
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true });
}

for (const resource of resources) {
  const { [resource.kind]: Type } = await import(modules[resource.kind]);
  try {
    new Type(resource).validate();
  } catch (error) {
    console.error(`${resource.kind}/${resource.metadata.name}: ${error.message}`);
    process.exitCode = 1;
  }
}
