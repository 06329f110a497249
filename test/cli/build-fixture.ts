/** The fixture's commands as plain JavaScript: a process that has nothing to translate starts in half the time. */

import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { repository } from "./process.ts";

const source = join(repository, "test/cli/fixture");
/** Under node_modules, so that packages are found from there. */
const target = join(repository, "node_modules/.cache/connito-fixture");

/** Returns the path of the program. */
export async function buildFixture(): Promise<string> {
  await mkdir(target, { recursive: true });
  await copyFile(join(source, "package.json"), join(target, "package.json"));
  await build({
    entryPoints: ["run.ts", "src/commands/behave.ts", "src/commands/topic/inner.ts"].map((file) => join(source, file)),
    outdir: target,
    outbase: source,
    bundle: true,
    splitting: true,
    packages: "external",
    platform: "node",
    format: "esm",
    logLevel: "error",
  });
  return join(target, "run.js");
}
