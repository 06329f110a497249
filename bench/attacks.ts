/**
 * The catalogue of attacks, each played by the simulator with several seeds: what attackers earn and honest miners keep of the emission of all runs together
 * and in the worst run, and, in any of them, whether the model was harmed and whether honest validators agreed. Every attacker trains as long as an honest
 * miner where its strategy trains at all.
 *
 *     npm run bench -- attacks [--json] [--seeds N] [--first N] [--cycles N] [--only PATTERN] [--directory PATH] [--threads N]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { castOf, minerStrategies, validatorStrategies } from "../src/simulate/cast.ts";
import { askingOwnTraining, simulate } from "../src/simulate/simulate.ts";
import { createProgress, silentProgress } from "../src/ui/progress.ts";
import { table } from "../src/ui/table.ts";

interface Attack {
  readonly name: string;
  readonly miners: readonly string[];
  readonly validators: readonly string[];
  readonly late?: number;
  readonly lost?: number;
  /** Where the base is grown, and own training asked for. */
  readonly ownTraining?: true;
  /** How many trainings its attackers do in a cycle all the same: in all runs together they may be paid what so many honest miners are. */
  readonly trainings?: number;
}

const honestMiners = "honest:4";
const honestValidators = "honest:3@400";
/** Dishonest stake just under half: 1,100 of 2,300. */
const minority = "@1100";

/** What alone, or with one honest miner in its group, would be something else. */
const together: Readonly<Record<string, readonly string[]>> = {
  overshoot: [honestMiners, "overshoot:3"],
  mixture: ["honest:6", "mixture"],
};

const attacks: readonly Attack[] = [
  { name: "none", miners: [honestMiners], validators: [honestValidators] },
  ...minerStrategies
    .filter(({ honest, name }) => honest !== true && name !== "ring")
    .map(({ name }) => ({ name, miners: together[name] ?? [honestMiners, name], validators: [honestValidators] })),
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
  { name: "negated with huge", miners: [honestMiners, "negated:2", "huge"], validators: [honestValidators] },
  { name: "churn and late records", miners: ["honest:3", "honest/1", "honest/0-0", "noise"], validators: [honestValidators], late: 0.2 },
  { name: "none, own training asked", miners: ["honest:8"], validators: [honestValidators], ownTraining: true },
  // Four of each in a group, where each ring trains once.
  { name: "ring", miners: ["honest:8", "ring:8"], validators: [honestValidators], ownTraining: true, trainings: 2 },
  { name: "lost records", miners: [honestMiners, "noise"], validators: ["honest:4@400"], lost: 0.1 },
];

/** Statuses of verdicts, and how often each was agreed on. */
type Verdicts = Readonly<Record<string, number>>;

interface Run {
  readonly seed: string;
  /** Of the emission at the end: all attackers' and all honest miners'. Both are 0 where nobody was paid. */
  readonly attackerShare: number;
  readonly honestShare: number;
  /** Whether any attacker earned more than an honest miner did on average; of those that train, a single run says nothing. */
  readonly attackPays: boolean;
  /** The largest rise of the canonical model's loss from one cycle to the next, nats per token; 0 where it never rose. */
  readonly modelHarm: number;
  /** What the canonical model gained, from first to last. */
  readonly modelGain: number;
  /** Whether honest validators computed one root in every cycle. */
  readonly agreed: boolean;
  /** The agreed verdicts, cycle by cycle. */
  readonly verdicts: { readonly attackers: Verdicts; readonly honest: Verdicts };
}

/** All runs of an attack: shares of what all runs together paid, and in the worst of them; the most harm, the least gain. */
interface Result extends Omit<Run, "seed"> {
  readonly attack: string;
  readonly worst: Pick<Run, "attackerShare" | "honestShare">;
  /** How many verdicts called honest work a copy, or untrained. */
  readonly accused: number;
  readonly runs: readonly Run[];
}

function resultOf({ name, trainings, miners }: Attack, runs: readonly Run[]): Result {
  const verdicts = { attackers: added(runs.map((one) => one.verdicts.attackers)), honest: added(runs.map((one) => one.verdicts.honest)) };
  const shares = sharesOf(runs);
  const honest = castOf(miners, []).filter(({ strategy }) => strategy.honest).length;
  const paysForTrainings = trainings !== undefined && shares.attackerShare > (trainings * shares.honestShare) / honest;
  return {
    attack: name,
    ...shares,
    worst: {
      attackerShare: Math.max(...runs.map((one) => one.attackerShare)),
      honestShare: Math.min(...runs.map((one) => one.honestShare)),
    },
    attackPays: paysForTrainings || runs.some((one) => one.attackPays),
    modelHarm: Math.max(...runs.map((one) => one.modelHarm)),
    modelGain: Math.min(...runs.map((one) => one.modelGain)),
    agreed: runs.every((one) => one.agreed),
    accused: ["copy", "near-copy", "not-trained"].reduce((sum, status) => sum + (verdicts.honest[status] ?? 0), 0),
    verdicts,
    runs,
  };
}

/** Of the emission of all runs together: each pays as much, or nothing. */
function sharesOf(runs: readonly Run[]): Pick<Run, "attackerShare" | "honestShare"> {
  const sum = (of: (one: Run) => number) => runs.reduce((total, one) => total + of(one), 0);
  const [attackers, honest] = [sum((one) => one.attackerShare), sum((one) => one.honestShare)];
  const all = attackers + honest || 1;
  return { attackerShare: attackers / all, honestShare: honest / all };
}

function added(all: readonly Verdicts[]): Verdicts {
  const result: Record<string, number> = {};
  for (const one of all) for (const [status, count] of Object.entries(one)) result[status] = (result[status] ?? 0) + count;
  return result;
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
      const played: Run[] = [];
      for (let turn = 0; turn < Number(values.seeds); turn++) {
        await rm(join(directory, "players"), { recursive: true, force: true });
        const seed = String(Number(values.first) + turn);
        played.push(await play(attack, seed, Number(values.cycles), directory, Number(values.threads)));
      }
      results.push(resultOf(attack, played));
      progress.note(JSON.stringify(results.at(-1)));
    }
  } finally {
    if (values.directory === undefined) await rm(directory, { recursive: true, force: true });
  }
  const ofAll = sharesOf(results.flatMap(({ runs }) => runs));
  if (values.json) {
    const result = { benchmark: "attacks", cycles: Number(values.cycles), ...ofAll, results };
    return void process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  }
  const percent = (share: number) => `${(100 * share).toFixed(2)}%`;
  const inWords = (verdicts: Verdicts) =>
    Object.entries(verdicts)
      .map(([status, count]) => `${count} ${status}`)
      .join(", ");
  const right = (heading: string) => ({ heading, align: "right" as const });
  const headings = [
    "attack",
    right("attackers' share, at most"),
    right("honest share, at least"),
    "pays",
    right("model harm"),
    right("model gain"),
    "agreed",
    right("honest accused"),
    "verdicts on attackers",
    "on honest miners",
  ];
  const rows = results.map((one) => [
    one.attack,
    `${percent(one.attackerShare)}, ${percent(one.worst.attackerShare)}`,
    `${percent(one.honestShare)}, ${percent(one.worst.honestShare)}`,
    one.attackPays ? "YES" : "no",
    one.modelHarm.toFixed(5),
    one.modelGain.toFixed(4),
    one.agreed ? "yes" : "NO",
    one.accused,
    inWords(one.verdicts.attackers),
    inWords(one.verdicts.honest),
  ]);
  process.stdout.write(
    `${table(headings, rows)}\n\nOf the emission of all runs together honest miners have ${percent(ofAll.honestShare)}.\n`,
  );
}

async function play(attack: Attack, seed: string, cycles: number, directory: string, threads: number): Promise<Run> {
  const cast = castOf(attack.miners, attack.validators);
  const signal = new AbortController().signal;
  const { late = 0, lost = 0 } = attack;
  const asked = { base: "grown" as const, overrides: askingOwnTraining(1280) };
  const input = { cast, cycles, seed, directory, late, lost, threads, progress: silentProgress, signal, ...(attack.ownTraining && asked) };
  const { players, losses, agreed } = await simulate(input);
  const miners = players.filter(({ role }) => role === "miner");
  const sum = (of: typeof miners) => of.reduce((total, { share }) => total + share, 0);
  const verdictsOn = (of: typeof miners) =>
    added(of.flatMap(({ statuses }) => statuses.map((status) => ({ [status ?? "not assigned"]: 1 }))));
  const honest = miners.filter((one) => one.honest);
  const attackers = miners.filter((one) => !one.honest);
  const rises = losses.slice(1).map((loss, cycle) => loss - (losses[cycle] as number));
  return {
    seed,
    attackerShare: sum(attackers),
    honestShare: sum(honest),
    attackPays: attack.trainings === undefined && attackers.some(({ share }) => share > sum(honest) / honest.length),
    modelHarm: Math.max(0, ...rises),
    modelGain: (losses[0] as number) - (losses.at(-1) as number),
    agreed: agreed.every(Boolean),
    verdicts: { attackers: verdictsOn(attackers), honest: verdictsOn(honest) },
  };
}
