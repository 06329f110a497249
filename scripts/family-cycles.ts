/**
 * One cycle of a subnet for each family that the engine computes, by real processes on an embedded chain: an owner publishes a task on a small model, a miner and
 * a validator run their roles, and the validator's report and version are shown and the version exported. Fails where a validator did not score its miner or set no
 * weights, or where the export cannot be opened. With --converted the base is one that `model convert` wrote: of gpt-oss from MXFP4, of any other family from FP8.
 *
 *     npm run cycles -- [--converted] [--grouping affinity|coactivation] [--block-time MILLISECONDS] [FAMILY ...]
 *
 * A busy machine wants longer blocks.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { creatableFamilies } from "../src/model/families/index.ts";
import { openScene, result, type SceneOptions } from "../test/commands/scene.ts";

/** Blocks; enough of them for three processes that start at the same time. */
const phases = { distribute: 24, train: 60, commit: 8, reveal: 8, score: 24, merge: 24 };

/** What one cycle came to. Throws an Error where a role failed, or came too late for a step. */
async function cycle(options: Omit<SceneOptions, "phases" | "lead">): Promise<string> {
  const scene = await openScene({ ...options, phases, lead: 4 });
  try {
    const run = (name: "miner" | "validator", more: readonly string[] = []) =>
      scene.begin(name, ["cycle", "run", "--role", name, "--cycles", "1", ...more, "--json"]).ended;
    const ended = await Promise.all([run("validator", ["--peer", `file:${scene.heldOut}`]), run("miner")]);
    for (const one of ended) result(one);
    // A step that is done says what it did when it is asked again.
    const again = async (name: "miner" | "validator", step: string) => result(await scene.run(name, [step, "--cycle", "0", "--json"]));
    const [trained, scored, merged] = [await again("miner", "train"), await again("validator", "score"), await again("validator", "merge")];
    const entries = scored["entries"] as readonly { readonly status: string; readonly score: number }[];
    const measured = entries.find(({ status }) => status === "accepted" || status === "no-gain");
    if (measured === undefined) throw new Error(`nothing was measured: ${JSON.stringify(entries)}`);
    const version = merged["root"] === merged["base"] ? "nothing merged" : `version ${String(merged["root"]).slice(0, 10)}`;
    const output = join(scene.directory, "export");
    const exported = result(await scene.run("validator", ["model", "export", "--version", "current", "--output", output, "--json"]));
    if (exported["root"] !== merged["root"]) throw new Error(`the current version is ${exported["root"]}, merged was ${merged["root"]}`);
    const opened = result(await scene.run("stranger", ["model", "inspect", output, "--json"]));
    const groups = `${options.converted ? "converted, " : ""}${options.grouping === undefined ? "even groups" : `groups by ${options.grouping}`}`;
    return `${groups}, ${trained["steps"]} steps, ${measured.status} with ${measured.score} micro-nats, ${version}, exported ${opened["tensors"]} tensors`;
  } finally {
    await scene.close();
  }
}

const { values, positionals: chosen } = parseArgs({
  options: {
    converted: { type: "boolean", default: false },
    grouping: { type: "string" },
    "block-time": { type: "string", default: "250" },
  },
  allowPositionals: true,
});
const { converted, grouping, "block-time": blockTime } = values;
if (grouping !== undefined && grouping !== "affinity" && grouping !== "coactivation")
  throw new Error("--grouping is affinity or coactivation");
for (const family of chosen.length > 0 ? chosen : creatableFamilies) {
  try {
    console.log(`${family}: ${await cycle({ family, converted, blockTime: Number(blockTime), ...(grouping && { grouping }) })}`);
  } catch (error) {
    console.log(`${family}: FAILED ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
