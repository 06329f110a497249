/**
 * How often Proof-of-Loss pays for nothing: submissions without effect, drawn many times from distributions of paired differences that are
 * normal, heavy-tailed, or skewed to either side, judged by the shipped rule in its stages. Compared with the task's error rate. Of submissions with an
 * effect, how often they are given up though the last stage would have paid them.
 *
 *     npm run bench -- error-rate [--draws N] [--first SEQUENCES] [--stages N] [--json]
 */
import { parseArgs } from "node:util";
import { judge } from "../src/protocol/evaluation.ts";
import { sha256, toHex, utf8 } from "../src/protocol/hash.ts";
import { stream } from "../src/protocol/random.ts";
import type { Task } from "../src/protocol/task.ts";
import { taskDefaults } from "../src/protocol/task-defaults.ts";
import { table } from "../src/ui/table.ts";

const domains = 2;

/** The rules of a task, and its stages. */
interface Plan {
  readonly task: { readonly evaluation: Task["evaluation"] };
  /** Sequences measured when each stage ends, and those that each adds. */
  readonly ends: readonly number[];
  readonly sizes: readonly number[];
}

function planOf(sequencesPerDomain: number, stages: number): Plan {
  const ends = Array.from({ length: stages }, (_, stage) => domains * sequencesPerDomain * 2 ** stage);
  const sizes = ends.map((end, stage) => end - (ends[stage - 1] ?? 0));
  return { task: { evaluation: { ...taskDefaults.evaluation, sequencesPerDomain, stages } }, ends, sizes };
}

/** Integers of the seed turned into numbers between 0 and 1, without both. */
function uniformOf(name: string): () => number {
  const random = stream(toHex(sha256(utf8(name))));
  return () => (random.uniform(2 ** 31) + 0.5) / 2 ** 31;
}

type Draw = (uniform: () => number) => number;
const normal: Draw = (uniform) => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
/** Student's t with three degrees of freedom: its fourth moment does not exist. */
const heavy: Draw = (uniform) => normal(uniform) / Math.sqrt((normal(uniform) ** 2 + normal(uniform) ** 2 + normal(uniform) ** 2) / 3);
/** Exponential less its mean: skewness 2. */
const skewed: Draw = (uniform) => -Math.log(uniform()) - 1;

const distributions: Readonly<Record<string, Draw>> = {
  normal,
  "heavy tails (t, 3 degrees)": heavy,
  "mostly small losses, some large gains": skewed,
  "mostly small gains, some large losses": (uniform) => -skewed(uniform),
};

/** Whether one submission is paid whose differences have the mean `effect`, the sequences that it took, and whether it is given up though the last stage would pay it. */
function judgeOnce(
  { task, ends, sizes }: Plan,
  draw: Draw,
  uniform: () => number,
  effect: number,
): { paid: boolean; sequences: number; lost: boolean } {
  const candidate = Array.from({ length: ends.at(-1) as number }, () => 3 - effect - 0.01 * draw(uniform));
  const judgeAt = (stage: number) => {
    const candidateLosses = candidate.slice(0, ends[stage - 1]);
    return judge({ task, baseLosses: candidateLosses.map(() => 3), candidateLosses, stage, stages: sizes });
  };
  for (let stage = 1; ; stage++) {
    const judged = judgeAt(stage);
    if (judged === undefined) continue;
    const paid = judged.status === "accepted";
    return { paid, sequences: judged.sequences, lost: !paid && judgeAt(sizes.length)?.status === "accepted" };
  }
}

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { sequencesPerDomain, stages, errorRate } = taskDefaults.evaluation;
  const options = {
    draws: { type: "string", default: "20000" },
    first: { type: "string", default: `${sequencesPerDomain}` },
    stages: { type: "string", default: `${stages}` },
    json: { type: "boolean", default: false },
  } as const;
  const { values } = parseArgs({ args: [...parameters], options });
  const draws = Number(values.draws);
  const plan = planOf(Number(values.first), Number(values.stages));
  const rows = Object.entries(distributions).flatMap(([differences, draw]) =>
    // No effect; then effects of a fifth, a quarter, and one standard deviation of a sequence's difference.
    [0, 0.002, 0.0025, 0.01].map((effect) => {
      const uniform = uniformOf(`${differences} ${effect}`);
      const judged = Array.from({ length: effect === 0 ? draws : Math.ceil(draws / 10) }, () => judgeOnce(plan, draw, uniform, effect));
      const paid = judged.filter((one) => one.paid).length / judged.length;
      const sequences = judged.reduce((sum, one) => sum + one.sequences, 0) / judged.length;
      return {
        differences,
        effect,
        draws: judged.length,
        paid,
        limit: effect === 0 ? errorRate : 1,
        ratio: paid / (effect === 0 ? errorRate : 1),
        sequences,
        lost: judged.filter((one) => one.lost).length / judged.length,
      };
    }),
  );
  if (values.json) return console.log(JSON.stringify({ ...plan.task.evaluation, domains, rows }));
  const right = (heading: string) => ({ heading, align: "right" as const });
  console.log(
    table(
      ["differences", right("effect"), right("draws"), right("paid"), right("of the limit"), right("sequences"), right("given up")],
      rows.map((row) => [
        row.differences,
        row.effect,
        row.draws,
        `${(100 * row.paid).toFixed(2)}%`,
        `${(100 * row.ratio).toFixed(0)}%`,
        row.sequences.toFixed(0),
        `${(100 * row.lost).toFixed(2)}%`,
      ]),
    ),
  );
}
