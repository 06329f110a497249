/**
 * Shows that the tests hold the rules: breaks one rule at a time (scripts/mutants.ts) in a copy of the sources, runs the tests that are
 * to notice, and says which did. Exits with 1 when a mutant survives. `--json` prints one document; `--only TEXT` takes the mutants
 * whose name holds TEXT. The working tree is not touched.
 */

import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { table } from "../src/ui/table.ts";
import { buildKernels } from "./kernels.ts";
import { type Mutant, mutants } from "./mutants.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const copied = ["src", "test", "scripts", "docs", "package.json", "tsconfig.json"];
/** A mutant may make its tests wait for ever, which is caught too: by a limit, with room for a machine that has other things to do. */
const shortestLimitMilliseconds = 120_000;

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  /** The title of the first test that failed. */
  readonly first?: string | undefined;
  readonly timedOut: boolean;
}

/** Runs test files in the copy. Throws when mocha does not get as far as its report: a mutant that does not load proves nothing. */
async function runTests(
  directory: string,
  files: readonly string[],
  { title, limit = 0 }: { title?: string | undefined; limit?: number } = {},
): Promise<Outcome> {
  const report = join(directory, "report.json");
  await rm(report, { force: true });
  const options = ["--no-config", "--exit", "--timeout", "60000", "--reporter", "json", "--reporter-option", `output=${report}`];
  if (title !== undefined) options.push("--fgrep", title);
  const child = spawn(process.execPath, ["--import", "tsx", "node_modules/mocha/bin/mocha.js", ...options, ...files], {
    cwd: directory,
    stdio: ["ignore", "ignore", "pipe"],
    timeout: limit,
    killSignal: "SIGKILL",
  });
  let complaint = "";
  child.stderr.on("data", (bytes: Buffer) => {
    complaint = (complaint + bytes.toString()).slice(-4000);
  });
  const signal = await new Promise<NodeJS.Signals | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (_code, by) => resolve(by));
  });
  if (signal !== null) return { passed: 0, failed: 0, timedOut: true };
  const text = await readFile(report, "utf8").catch(() => {
    throw new Error(`the tests did not run: ${files.join(" ")}\n${complaint}`);
  });
  const { stats, failures } = JSON.parse(text) as { stats: { passes: number; failures: number }; failures: { fullTitle: string }[] };
  return { passed: stats.passes, failed: stats.failures, first: failures[0]?.fullTitle, timedOut: false };
}

/** The source with the rule broken. Throws unless the mutant fits in exactly one place. */
function mutate(source: string, { name, file, find, replace }: Mutant): string {
  const places = source.split(find).length - 1;
  if (places !== 1) throw new Error(`${name}: found ${places} times in ${file}, not once:\n${find}`);
  return source.replace(find, () => replace);
}

async function copyOf(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "connito-mutate-"));
  for (const name of copied) await cp(join(root, name), join(directory, name), { recursive: true });
  await symlink(join(root, "node_modules"), join(directory, "node_modules"), "junction");
  await buildKernels(directory);
  return directory;
}

function verdictOf({ failed, timedOut, first }: Outcome): { caughtBy: string; test: string } {
  if (timedOut) return { caughtBy: "never ended", test: "" };
  return failed === 0 ? { caughtBy: "SURVIVED", test: "" } : { caughtBy: `${failed} failing`, test: first ?? "" };
}

const { json, only } = parseArgs({ options: { json: { type: "boolean" }, only: { type: "string" } } }).values;
const chosen = mutants.filter(({ name }) => only === undefined || name.includes(only));
const directory = await copyOf();
try {
  // Where the places are wrong, say so before any test has run.
  const edits = await Promise.all(
    chosen.map(async (mutant) => {
      const path = join(directory, mutant.file);
      const source = await readFile(path, "utf8");
      return { mutant, path, source, broken: mutate(source, mutant) };
    }),
  );
  const started = performance.now();
  const unbroken = await runTests(directory, [...new Set(chosen.flatMap(({ tests }) => tests))]);
  if (unbroken.failed > 0 || unbroken.timedOut || unbroken.passed === 0) {
    throw new Error(`The tests must pass before anything is broken: ${unbroken.first ?? "they did not end"}`);
  }
  const limit = Math.max(shortestLimitMilliseconds, Math.ceil(2 * (performance.now() - started)));
  if (!json) console.error(`${unbroken.passed} tests pass with every rule as it is; ${chosen.length} mutants follow.`);

  const results: { mutant: Mutant; outcome: Outcome }[] = [];
  for (const { mutant, path, source, broken } of edits) {
    await writeFile(path, broken);
    await buildKernels(directory);
    const outcome = await runTests(directory, mutant.tests, { title: mutant.title, limit });
    await writeFile(path, source);
    await buildKernels(directory);
    results.push({ mutant, outcome });
    if (!json) console.error(`${verdictOf(outcome).caughtBy.padEnd(12)}${mutant.name}`);
  }

  const survived = results.filter(({ outcome }) => outcome.failed === 0 && !outcome.timedOut);
  if (json) {
    const rows = results.map(({ mutant, outcome }) => ({
      name: mutant.name,
      file: mutant.file,
      caught: !survived.some((other) => other.mutant === mutant),
      ...outcome,
    }));
    console.log(JSON.stringify({ tests: unbroken.passed, mutants: rows, survived: survived.length }));
  } else {
    const rows = results.map(({ mutant, outcome }) => [mutant.name, verdictOf(outcome).caughtBy, verdictOf(outcome).test.slice(0, 70)]);
    console.log(`\n${table(["mutant", "caught by", "of them"], rows)}\n`);
    console.log(`${results.length - survived.length} of ${results.length} mutants caught.`);
  }
  process.exitCode = survived.length === 0 ? 0 : 1;
} finally {
  await rm(directory, { recursive: true, force: true });
}
