/** `npm run bench -- NAME`: runs one of the benchmarks beside this file, each of which compares with a named limit or peer measured in the same run. */

import { readdirSync } from "node:fs";

const names = readdirSync(new URL(".", import.meta.url))
  .filter((file) => file.endsWith(".ts") && file !== "run.ts")
  .map((file) => file.slice(0, -".ts".length));
const [name = ""] = process.argv.slice(2);
if (!names.includes(name)) {
  process.stderr.write(`Which benchmark? npm run bench -- ${names.join("|")}\n`);
  process.exitCode = 2;
} else {
  const { run } = (await import(`./${name}.ts`)) as { run: () => Promise<void> };
  await run();
}
