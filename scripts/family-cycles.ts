/**
 * One cycle of a subnet for each family that the engine computes, by real processes on an embedded chain: an owner publishes a task on a small model, a miner and
 * a validator run their roles, and the validator's report and version are shown and the version exported. Fails where a validator did not score its miner or set no
 * weights, or where the export cannot be opened. With --converted the base is one that `model convert` wrote: of gpt-oss from MXFP4, of any other family from FP8.
 *
 *     npm run cycles -- [--converted] [--grouping affinity|coactivation] [--block-time MILLISECONDS] [FAMILY ...]
 *     npm run cycles -- --torch PYTHON [--block-time MILLISECONDS]
 *
 * With --torch (an interpreter that has torch, transformers, safetensors and numpy) the miner trains and the validator scores by the programs in trainers/torch, on
 * qwen3_moe, and a second validator by the engine: both must come to the same version, and pay the miner. A busy machine wants longer blocks.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { creatableFamilies } from "../src/model/families/index.ts";
import type { Ended } from "../test/cli/process.ts";
import { openScene, type Participant, result, type Scene, type SceneOptions } from "../test/commands/scene.ts";

/** Blocks; enough of them for three processes that start at the same time. */
const phases = { distribute: 24, train: 60, commit: 8, reveal: 8, score: 24, merge: 24 };
/** A program is started for each question that scoring and the gate ask, and imports torch each time. */
const phasesWithTorch = { ...phases, train: 40, score: 60, merge: 60 };

const run = (scene: Scene, name: Participant, role: "miner" | "validator", more: readonly string[] = []) =>
  scene.begin(name, ["cycle", "run", "--role", role, "--cycles", "1", "--json", ...more]).ended;

/** What one cycle came to. Throws an Error where a role failed, or came too late for a step. */
async function cycle(options: Omit<SceneOptions, "phases" | "lead">): Promise<string> {
  const scene = await openScene({ ...options, phases, lead: 4 });
  try {
    const ended = await Promise.all([
      run(scene, "validator", "validator", ["--peer", `file:${scene.heldOut}`]),
      run(scene, "miner", "miner"),
    ]);
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

/** What came of a step, as `cycle run` said on stderr, and the notes that have a code. */
function said({ stderr }: Ended) {
  const lines = stderr.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Record<string, unknown>] : []));
  return {
    of: (step: string) => lines.find((line) => line["step"] === step && line["outcome"] === "done")?.["result"] as Record<string, unknown>,
    troubles: lines.filter(({ code, outcome }) => code !== undefined || outcome === "failed").map((line) => JSON.stringify(line)),
  };
}

/** The same with programs of PyTorch in the engine's place. Throws an Error where anything was done by the engine instead, or validators differ. */
async function cycleWithTorch(python: string, blockTime: number): Promise<string> {
  const scene = await openScene({ family: "qwen3_moe", blockTime, phases: phasesWithTorch, lead: 4, strangerValidates: true });
  const by = (program: string) => ["--backend", "command", "--", python, join("trainers", "torch", program)];
  const peer = ["--peer", `file:${scene.heldOut}`];
  try {
    const ended = await Promise.all([
      run(scene, "validator", "validator", [...peer, ...by("score.py")]),
      run(scene, "stranger", "validator", peer),
      run(scene, "miner", "miner", by("train.py")),
    ]);
    for (const one of ended) result(one);
    const [validator, other, miner] = ended.map(said) as [ReturnType<typeof said>, ReturnType<typeof said>, ReturnType<typeof said>];
    const troubles = [...validator.troubles, ...miner.troubles];
    if (troubles.length > 0) throw new Error(troubles.join("; "));
    const [trained, scored, merged] = [miner.of("train"), validator.of("score"), validator.of("merge")];
    const [entry] = scored["entries"] as readonly { readonly status: string; readonly score: number }[];
    if (entry?.status !== "accepted") throw new Error(`the miner was not accepted: ${JSON.stringify(scored["entries"])}`);
    if (other.of("merge")["root"] !== merged["root"]) throw new Error("the two validators came to different versions");
    for (const { of } of [validator, other])
      if ((of("set-weights")["weights"] as readonly unknown[]).length !== 1) throw new Error("the miner was not paid");
    return `${trained["steps"]} steps by torch, accepted with ${entry.score} micro-nats, paid, both validators at version ${String(merged["root"]).slice(0, 10)}`;
  } finally {
    await scene.close();
  }
}

const { values, positionals: chosen } = parseArgs({
  options: {
    converted: { type: "boolean", default: false },
    grouping: { type: "string" },
    torch: { type: "string" },
    "block-time": { type: "string" },
  },
  allowPositionals: true,
});
const { converted, grouping, torch } = values;
const blockTime = Number(values["block-time"] ?? (torch === undefined ? 250 : 1000));
if (grouping !== undefined && grouping !== "affinity" && grouping !== "coactivation")
  throw new Error("--grouping is affinity or coactivation");

async function attempt(name: string, work: () => Promise<string>): Promise<void> {
  try {
    console.log(`${name}: ${await work()}`);
  } catch (error) {
    console.log(`${name}: FAILED ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
if (torch !== undefined) await attempt("qwen3_moe", () => cycleWithTorch(torch, blockTime));
else
  for (const family of chosen.length > 0 ? chosen : creatableFamilies)
    await attempt(family, () => cycle({ family, converted, blockTime, ...(grouping && { grouping }) }));
