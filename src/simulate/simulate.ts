/**
 * A whole subnet in one process, offline: an owner, validators and miners of any mix of strategies, on the steps and rules that are shipped, with a
 * chain and a clock that take no time. The same cast and seed give the same run.
 */
import { setMaxListeners } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Neuron } from "../chain/client.ts";
import { developmentSigner, type Signer } from "../chain/signer.ts";
import { roles } from "../cycle/roles.ts";
import { runCycles, type StepEvent } from "../cycle/runner.ts";
import { ConnitoError } from "../errors.ts";
import type { StandInPolicy } from "../model/stand-in-policy.ts";
import { cycleWindow } from "../protocol/clock.ts";
import type { Stream } from "../protocol/random.ts";
import type { TaskOverrides } from "../protocol/task.ts";
import type { Context } from "../steps/context.ts";
import { createTask } from "../steps/distribute/create-task.ts";
import { joinTask, type Membership } from "../steps/membership.ts";
import { type Progress, silentProgress } from "../ui/progress.ts";
import { namesIn } from "../workspace/files.ts";
import { openWorkspace } from "../workspace/workspace.ts";
import { type BaseKind, makeBase, sequenceLength } from "./base.ts";
import { gatherOutcome, type SimulationOutcome } from "./outcome.ts";
import type { CastMember, Note, Player } from "./player.ts";
import { createWorld, type World } from "./world.ts";

export interface SimulationInput {
  readonly cast: readonly CastMember[];
  readonly cycles: number;
  readonly seed: string;
  /** State, texts and the base; the base is made only where it is missing. */
  readonly directory: string;
  /** `young` by default. */
  readonly base?: BaseKind;
  readonly overrides?: TaskOverrides;
  /** Chance that a transaction waits one to three blocks longer. */
  readonly late?: number;
  /** Chance that a transaction never comes into a block. */
  readonly lost?: number;
  readonly threads: number;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

const netuid = 1;
const tao = 1_000_000_000;
const leadBlocks = 4;

/**
 * Of experts this small the default two bits a value say so little that training learns to make up for what is missing, which harms the whole model: honest
 * work must be worth something here.
 */
const standIns: StandInPolicy = { kind: "by-use", bits: 4 };

/** Sequences of a training step. */
export const batchSequences = 16;

/** Rules that suit a model of this size; what a simulation wants to look at can be changed. */
const taskOverrides: TaskOverrides = {
  data: { sequenceLength },
  experts: { selection: { threshold: 0.9 } },
  inner: { learningRate: 2e-3, batchSequences },
  evaluation: { sequencesPerDomain: 16 },
  merge: { scales: [1, 0.5, 0.25] },
  submission: { codec: "dense-bf16" },
  cycle: { phases: { distribute: 4, train: 4, commit: 6, reveal: 6, score: 6, merge: 10 } },
};

/** Of the sequences that are to be learned from, on how many each submission is measured: models this small learn little of each. */
const drawn = 512;

/** What a simulation changes to ask submissions for training of their own on so many sequences. */
export function askingOwnTraining(sequences: number): TaskOverrides {
  return { evaluation: { leastTraining: { sequences, drawn: Math.min(sequences, drawn) } } };
}

/** @throws simulation-invalid for a cast that cannot play; simulation-there where the directory holds another's state */
export async function simulate(input: SimulationInput): Promise<SimulationOutcome> {
  const { cast, seed, signal, progress } = input;
  checkCast(cast);
  const states = join(input.directory, "players");
  await assertNoneThere(states);
  // Everybody waits on this one signal.
  setMaxListeners(0, signal);
  const base = await makeBase(join(input.directory, `base-${input.base ?? "young"}`), input);
  const owner = await developmentSigner("//Owner");
  const signers = await Promise.all(cast.map(({ name }) => developmentSigner(`//Player//${name.replaceAll(/[^A-Za-z0-9]/g, "")}`)));
  const startBlock = leadBlocks + 4;
  const length = Object.values(taskOverrides.cycle?.phases ?? {}).reduce((sum, blocks) => sum + (blocks ?? 0), 0);
  const joined = ({ from = 0 }: CastMember) => (from === 0 ? 0 : startBlock + from * length - 2);
  const neurons: Neuron[] = [
    neuron(owner, 0, 0, 0),
    ...cast.map((member, index) => neuron(signers[index] as Signer, index + 1, joined(member), member.stake ?? 0)),
  ];
  const world = createWorld({ seed, ownerHotkey: owner.address, neurons, delay: delayOf(input.late ?? 0, input.lost ?? 0) });

  // Locators go on the chain, where there is little room: what is published lies at a short path, whatever the state directories are called.
  const published = await mkdtemp(join(tmpdir(), "connito-"));
  const heldOut = join(published, "held-out");
  await mkdir(heldOut);
  const contextOf = async (name: string, uid: number, signer: Signer, notes: Note[] = []): Promise<Context> => {
    const directory = join(published, String(uid));
    await mkdir(directory);
    return {
      workspace: await openWorkspace(join(states, name), { lock: true }),
      chain: world.chain,
      clock: world.clock,
      netuid,
      signer,
      locator: `file:${directory}`,
      peers: [`file:${heldOut}`],
      threads: input.threads,
      progress: { ...silentProgress, note: (_text, fields = {}) => notes.push({ block: world.block(), fields }) },
      signal,
    };
  };
  const ownerContext = await contextOf("owner", 0, owner);
  const players: Player[] = [];
  for (const [index, member] of cast.entries()) {
    const notes: Note[] = [];
    const context = await contextOf(member.name, index + 1, signers[index] as Signer, notes);
    players.push({ ...member, uid: index + 1, events: [], notes, context });
  }

  try {
    await world.play([
      async () => {
        await createTask(ownerContext, {
          name: "simulation",
          checkpoint: base.checkpoint,
          domains: base.domains,
          groups: 2,
          grouping: "even",
          standIns,
          heldOutShare: 0.1,
          overrides: merged(taskOverrides, { ...input.overrides, cycle: { ...input.overrides?.cycle, startBlock } }),
          leadBlocks,
          heldOutDirectory: heldOut,
        });
      },
    ]);
    const membership = await joinTask(ownerContext);
    if (world.block() >= startBlock) throw new Error("the task took too many blocks to stand on the chain");
    progress.start("Simulating", input.cycles);
    const actors = [
      ...players.map((player) => () => play(world, player, players, membership, input.cycles)),
      () =>
        run(ownerContext, membership, roles.owner, input.cycles, ({ cycle, step }) => {
          if (step === "measure") progress.update(cycle, "cycles");
        }),
    ];
    await world.play(actors);
    progress.succeed(`Simulated ${input.cycles} cycles in ${world.block()} blocks`);
    return await gatherOutcome({ world, owner: ownerContext, membership, players, cycles: input.cycles });
  } finally {
    for (const { context } of [...players, { context: ownerContext }]) await context.workspace.close();
    await rm(published, { recursive: true, force: true });
  }
}

async function play(world: World, player: Player, players: readonly Player[], membership: Membership, cycles: number): Promise<void> {
  const { from = 0, to = cycles - 1, strategy, context } = player;
  const leaks = (player.leaks ?? []).map((name) => (players.find((one) => one.name === name) as Player).context);
  const steps = strategy.steps({ trainingSteps: player.trainingSteps ?? 80, leaks });
  if (from > 0) {
    const { first } = cycleWindow(membership.task, from);
    await world.clock.until(({ best }) => best >= first, context.signal);
  }
  // Whoever plays joins by itself: the task comes from its own doors.
  await run(context, await joinTask(context), steps, Math.min(cycles, to + 1) - from, (event) => player.events.push(event));
}

async function run(
  context: Context,
  membership: Membership,
  steps: Parameters<typeof runCycles>[2]["steps"],
  cycles: number,
  onEvent: (event: StepEvent) => void,
): Promise<void> {
  if (cycles > 0) await runCycles(context, membership, { steps, cycles, onEvent });
}

function neuron(signer: Signer, uid: number, registeredAt: number, stake: number): Neuron {
  const rao = BigInt(Math.round(stake * tao));
  return { hotkey: signer.address, coldkey: signer.address, lastUpdate: 0, uid, stake: rao, validatorPermit: stake > 0, registeredAt };
}

function delayOf(late: number, lost: number): (hotkey: string, random: Stream) => number {
  return (_hotkey, random) => {
    if (random.uniform(1000) < lost * 1000) return Number.POSITIVE_INFINITY;
    return random.uniform(1000) < late * 1000 ? 2 + random.uniform(3) : 1;
  };
}

function merged(base: TaskOverrides, over: TaskOverrides): TaskOverrides {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    const both = typeof before === "object" && typeof value === "object" && before !== null && value !== null && !Array.isArray(value);
    result[key] = both ? merged(before as TaskOverrides, value as TaskOverrides) : value;
  }
  return result as TaskOverrides;
}

/** Whoever played has work of cycles that this chain has not come to. */
async function assertNoneThere(states: string): Promise<void> {
  if ((await namesIn(states)).length === 0) return;
  throw new ConnitoError(`${states} holds the state of another simulation.`, {
    code: "simulation-there",
    exit: "invalidInput",
    hint: "Name another directory, or remove that one; the base beside it can stay.",
  });
}

function checkCast(cast: readonly CastMember[]): void {
  const names = cast.map(({ name }) => name);
  const problem =
    names.find((name, index) => names.indexOf(name) !== index) ??
    cast.find(({ leaks = [] }) => leaks.some((name) => !names.includes(name)))?.name ??
    cast.find(({ strategy, stake = 0 }) => (strategy.role === "validator") !== stake > 0)?.name;
  const empty = !cast.some(({ strategy }) => strategy.role === "validator") || !cast.some(({ strategy }) => strategy.role === "miner");
  if (problem === undefined && !empty) return;
  throw new ConnitoError(empty ? "A simulation needs a validator and a miner" : `${problem} cannot play`, {
    code: "simulation-invalid",
    exit: "usage",
    hint: empty
      ? "Name at least one with --miner and one with --validator, or neither, for four honest miners and three honest validators."
      : "Names are given once, leaks name others of the cast, validators have stake and miners have none.",
  });
}
