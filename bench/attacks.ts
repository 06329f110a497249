/**
 * The catalogue of attacks, each played by the simulator with several seeds: what the attacker earns, what honest miners keep, whether the model was
 * harmed, whether honest validators agreed. Options: --json, --seeds N, --cycles N, --only TEXT, --directory PATH, --threads N.
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
  { name: "poison with huge", miners: [honestMiners, "poison:2", "huge"], validators: [honestValidators] },
  { name: "churn and late records", miners: ["honest:3", "honest/1", "honest/0-0", "noise"], validators: [honestValidators], late: 0.2 },
];

interface Result {
  readonly attack: string;
  readonly seed: string;
  /** Of the emission at the end: all attackers' and all honest miners'. */
  readonly attackerShare: number;
  readonly honestShare: number;
  /** Whether any attacker earned more than an honest miner did on average. */
  readonly attackPays: boolean;
  /** The largest rise of the canonical model's loss from one cycle to the next, nats per token; 0 where it never rose. */
  readonly modelHarm: number;
  readonly modelGain: number;
  /** Whether honest validators computed one root in every cycle. */
  readonly agreed: boolean;
}

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      json: { type: "boolean", default: false },
      seeds: { type: "string", default: "2" },
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
    for (const attack of attacks.filter(({ name }) => name.includes(values.only))) {
      for (let seed = 1; seed <= Number(values.seeds); seed++) {
        await rm(join(directory, "players"), { recursive: true, force: true });
        const result = await play(attack, String(seed), Number(values.cycles), directory, Number(values.threads));
        results.push(result);
        progress.note(JSON.stringify(result));
      }
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
      "seed",
      right("attackers' share"),
      right("honest share"),
      "pays",
      right("model harm"),
      right("model gain"),
      "agreed",
    ];
    const rows = results.map((one) => [
      one.attack,
      one.seed,
      `${(100 * one.attackerShare).toFixed(2)}%`,
      `${(100 * one.honestShare).toFixed(2)}%`,
      one.attackPays ? "YES" : "no",
      one.modelHarm.toFixed(5),
      one.modelGain.toFixed(4),
      one.agreed ? "yes" : "NO",
    ]);
    process.stdout.write(`${table(headings, rows)}\n`);
  }
}

async function play(attack: Attack, seed: string, cycles: number, directory: string, threads: number): Promise<Result> {
  const cast = castOf(attack.miners, attack.validators);
  const signal = new AbortController().signal;
  const late = attack.late ?? 0;
  const { players, losses, agreed } = await simulate({ cast, cycles, seed, directory, late, threads, progress: silentProgress, signal });
  const miners = players.filter(({ role }) => role === "miner");
  const sum = (of: typeof miners) => of.reduce((total, { share }) => total + share, 0);
  const honest = miners.filter((one) => one.honest);
  const attackers = miners.filter((one) => !one.honest);
  const rises = losses.slice(1).map((loss, cycle) => loss - (losses[cycle] as number));
  return {
    attack: attack.name,
    seed,
    attackerShare: sum(attackers),
    honestShare: sum(honest),
    attackPays: attackers.some(({ share }) => share > sum(honest) / honest.length),
    modelHarm: Math.max(0, ...rises),
    modelGain: (losses[0] as number) - (losses.at(-1) as number),
    agreed: agreed.every(Boolean),
  };
}
