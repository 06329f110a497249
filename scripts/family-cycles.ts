/**
 * One cycle of a subnet for each family that the engine computes, by real processes on an embedded chain: an owner publishes a task on a small model, a miner and
 * a validator run their roles, and the validator's report and version are shown. Fails where a validator did not score its miner or set no weights.
 *
 *     npm run cycles -- [FAMILY ...]
 */
import { creatableFamilies } from "../src/model/families/index.ts";
import { openScene, result } from "../test/commands/scene.ts";

/** Blocks; enough of them for three processes that start at the same time. */
const phases = { distribute: 24, train: 60, commit: 8, reveal: 8, score: 24, merge: 24 };

interface Outcomes {
  readonly outcomes: readonly { readonly step: string; readonly outcome: string; readonly result?: Readonly<Record<string, unknown>> }[];
}

/** What one cycle came to. Throws an Error where a role failed. */
async function cycle(family: string): Promise<string> {
  const scene = await openScene({ phases, blockTime: 250, lead: 4, family });
  try {
    const run = (name: "miner" | "validator") => scene.begin(name, ["cycle", "run", "--role", name, "--cycles", "1", "--json"]).ended;
    const [validator, miner] = (await Promise.all([run("validator"), run("miner")])).map((ended) => result(ended) as unknown as Outcomes);
    const of = (outcomes: Outcomes | undefined, wanted: string) =>
      outcomes?.outcomes.find(({ step, outcome }) => step === wanted && outcome === "done")?.result;
    const [trained, scored, merged] = [of(miner, "train"), of(validator, "score"), of(validator, "merge")];
    const entries = scored?.["entries"] as readonly { readonly status: string; readonly score: number }[] | undefined;
    const measured = entries?.find(({ status }) => status === "accepted" || status === "no-gain");
    if (trained === undefined || measured === undefined || merged === undefined) throw new Error(JSON.stringify({ miner, validator }));
    const version = merged["root"] === merged["base"] ? "nothing merged" : `version ${String(merged["root"]).slice(0, 10)}`;
    return `${trained["steps"]} steps, ${measured.status} with ${measured.score} micro-nats, ${version}`;
  } finally {
    await scene.close();
  }
}

const chosen = process.argv.slice(2);
for (const family of chosen.length > 0 ? chosen : creatableFamilies) {
  try {
    console.log(`${family}: ${await cycle(family)}`);
  } catch (error) {
    console.log(`${family}: FAILED ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
