/**
 * The catalogue of attacks, each played by the simulator with several seeds: what the attacker earns, what honest miners keep, whether the model was
 * harmed, whether honest validators agreed; the worst of all seeds. Every attacker trains as long as an honest miner where its strategy trains at all.
 *
 *     npm run bench -- attacks [--json] [--seeds N] [--first N] [--cycles N] [--only PATTERN] [--directory PATH] [--threads N]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { castOf, minerStrategies, validatorStrategies } from "../src/simulate/cast.ts";
import { simulate } from "../src/simulate/simulate.ts";
import { createProgress, silentProgress } from "../src/ui/progress.ts";
import { table } from "../src/ui/table.ts";

interface Attack {
  readonly name: string;
  readonly miners: readonly string[];
  readonly validators: readonly string[];
  readonly late?: number;
  readonly lost?: number;
}

const honestMiners = "honest:4";
const honestValidators = "honest:3@400";
/** Dishonest stake just under half: 1,100 of 2,300. */
const minority = "@1100";

const attacks: readonly Attack[] = [
  { name: "none", miners: [honestMiners], validators: [honestValidators] },
  ...minerStrategies
    .filter(({ honest }) => honest !== true)
    .map(({ name }) => ({ name, miners: [honestMiners, name === "overshoot" ? "overshoot:3" : name], validators: [honestValidators] })),
  ...validatorStrategies
    .filter(({ honest }) => honest !== true)
    .map(({ name }) => ({
      name: `validator ${name}`,
      miners: [honestMiners, "noise"],
      validators: [honestValidators, `${name}${minority}`],
    })),
  { name: "liar with noisy-copy", miners: [honestMiners, "noisy-copy"], validators: [honestValidators, `liar${minority}`] },
  { name: "two liars for one", miners: [honestMiners, "scaled-copy"], validators: [honestValidators, "liar:2@550"] },
  { name: "lazy with liar", miners: [honestMiners, "negligible"], validators: [honestValidators, "lazy@500", "liar@600"] },
  {
    name: "wrong root with copier",
    miners: [honestMiners, "trained-on-copy"],
    validators: [honestValidators, "wrong-root@600", "copier@500"],
  },
  { name: "poison with huge", miners: [honestMiners, "poison:2", "huge"], validators: [honestValidators] },
  { name: "churn and late records", miners: ["honest:3", "honest/1", "honest/0-0", "noise"], validators: [honestValidators], late: 0.2 },
  { name: "lost records", miners: [honestMiners, "noise"], validators: ["honest:4@400"], lost: 0.1 },
];

interface Result {
  readonly attack: string;
  readonly seeds: number;
  /** Of the emission at the end: all attackers' at most, and all honest miners' at least. */
  readonly attackerShare: number;
  readonly honestShare: number;
  /** Whether any attacker earned more than an honest miner did on average. */
  readonly attackPays: boolean;
  /** The largest rise of the canonical model's loss from one cycle to the next, nats per token; 0 where it never rose. */
  readonly modelHarm: number;
  /** What the canonical model gained at least, from first to last. */
  readonly modelGain: number;
  /** Whether honest validators computed one root in every cycle of every run. */
  readonly agreed: boolean;
  /** How many verdicts called honest work a copy. */
  readonly accused: number;
  /** What the agreed verdicts on the attackers were, cycle by cycle, and how often. */
  readonly verdicts: Readonly<Record<string, number>>;
}

function worst(results: readonly Result[]): Result {
  const first = results[0] as Result;
  const verdicts: Record<string, number> = {};
  for (const one of results) for (const [status, count] of Object.entries(one.verdicts)) verdicts[status] = (verdicts[status] ?? 0) + count;
  return {
    attack: first.attack,
    seeds: results.length,
    attackerShare: Math.max(...results.map((one) => one.attackerShare)),
    honestShare: Math.min(...results.map((one) => one.honestShare)),
    attackPays: results.some((one) => one.attackPays),
    modelHarm: Math.max(...results.map((one) => one.modelHarm)),
    modelGain: Math.min(...results.map((one) => one.modelGain)),
    agreed: results.every((one) => one.agreed),
    accused: results.reduce((sum, one) => sum + one.accused, 0),
    verdicts,
  };
}

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      json: { type: "boolean", default: false },
      seeds: { type: "string", default: "2" },
      first: { type: "string", default: "1" },
      cycles: { type: "string", default: "3" },
      only: { type: "string", default: "" },
      directory: { type: "string" },
      threads: { type: "string", default: "1" },
    },
  });
  const progress = createProgress({ kind: "plain" });
  const directory = values.directory ?? (await mkdtemp(join(tmpdir(), "connito-attacks-")));
  const results: Result[] = [];
  try {
    for (const attack of attacks.filter(({ name }) => new RegExp(values.only).test(name))) {
      const played: Result[] = [];
      for (let turn = 0; turn < Number(values.seeds); turn++) {
        await rm(join(directory, "players"), { recursive: true, force: true });
        const seed = String(Number(values.first) + turn);
        played.push(await play(attack, seed, Number(values.cycles), directory, Number(values.threads)));
      }
      results.push(worst(played));
      progress.note(JSON.stringify(results.at(-1)));
    }
  } finally {
    if (values.directory === undefined) await rm(directory, { recursive: true, force: true });
  }
  if (values.json)
    process.stdout.write(`${JSON.stringify({ benchmark: "attacks", cycles: Number(values.cycles), results }, undefined, 2)}\n`);
  else {
    const right = (heading: string) => ({ heading, align: "right" as const });
    const headings = [
      "attack",
      right("attackers' share"),
      right("honest share"),
      "pays",
      right("model harm"),
      right("model gain"),
      "agreed",
      right("honest called copies"),
      "verdicts on attackers",
    ];
    const rows = results.map((one) => [
      one.attack,
      `${(100 * one.attackerShare).toFixed(2)}%`,
      `${(100 * one.honestShare).toFixed(2)}%`,
      one.attackPays ? "YES" : "no",
      one.modelHarm.toFixed(5),
      one.modelGain.toFixed(4),
      one.agreed ? "yes" : "NO",
      one.accused,
      Object.entries(one.verdicts)
        .map(([status, count]) => `${count} ${status}`)
        .join(", "),
    ]);
    process.stdout.write(`${table(headings, rows)}\n`);
  }
}

async function play(attack: Attack, seed: string, cycles: number, directory: string, threads: number): Promise<Result> {
  const cast = castOf(attack.miners, attack.validators);
  const signal = new AbortController().signal;
  const { late = 0, lost = 0 } = attack;
  const input = { cast, cycles, seed, directory, late, lost, threads, progress: silentProgress, signal };
  const { players, losses, agreed } = await simulate(input);
  const miners = players.filter(({ role }) => role === "miner");
  const sum = (of: typeof miners) => of.reduce((total, { share }) => total + share, 0);
  const honest = miners.filter((one) => one.honest);
  const attackers = miners.filter((one) => !one.honest);
  const rises = losses.slice(1).map((loss, cycle) => loss - (losses[cycle] as number));
  const verdicts: Record<string, number> = {};
  for (const { statuses } of attackers)
    for (const status of statuses) verdicts[status ?? "not assigned"] = (verdicts[status ?? "not assigned"] ?? 0) + 1;
  return {
    attack: attack.name,
    seeds: 1,
    attackerShare: sum(attackers),
    honestShare: sum(honest),
    attackPays: attackers.some(({ share }) => share > sum(honest) / honest.length),
    modelHarm: Math.max(0, ...rises),
    modelGain: (losses[0] as number) - (losses.at(-1) as number),
    agreed: agreed.every(Boolean),
    accused: honest.flatMap(({ statuses }) => statuses).filter((status) => status === "copy" || status === "near-copy").length,
    verdicts,
  };
}
