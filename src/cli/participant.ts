/**
 * Opens everything that a participant's step needs (state directory with its lock, hotkey, chain), in the order in which mistakes
 * are cheapest, and closes it when the command ends. This is the one place where the adapters meet.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { Args, Flags } from "@oclif/core";
import { connectChain } from "../chain/client.ts";
import { resolveNetwork } from "../chain/networks.ts";
import { openHotkey } from "../chain/wallet.ts";
import { ConnitoError } from "../errors.ts";
import { requireProgram } from "../external/program.ts";
import { cycleAt } from "../protocol/clock.ts";
import { parseLocator } from "../protocol/locator.ts";
import { createChainClock } from "../steps/clock.ts";
import type { Context } from "../steps/context.ts";
import { viewBlock } from "../steps/cycle-view.ts";
import { joinTask, type Membership } from "../steps/membership.ts";
import { currentCycle } from "../steps/windows.ts";
import { openWorkspace, type Workspace } from "../workspace/workspace.ts";
import type { Invocation } from "./base-command.ts";
import { chainFlags, walletFlags } from "./flags.ts";
import { parseBytes } from "./quantities.ts";

/** Flags of every command that acts as a hotkey on a subnet. */
export const participantFlags = {
  ...chainFlags,
  ...walletFlags,
  publish: Flags.string({
    helpValue: "LOCATOR",
    summary: "Where others fetch what this participant makes: file:/DIRECTORY, or the http:// address that `cycle run` serves.",
    env: "CONNITO_PUBLISH",
    parse: async (text) => {
      parseLocator(text);
      return text;
    },
  }),
  peer: Flags.string({
    helpValue: "LOCATOR",
    summary: "Ask this peer before those found on the chain. May be given several times; in the environment separated by commas.",
    env: "CONNITO_PEER",
    multiple: true,
    parse: async (text) => {
      for (const locator of text.split(",")) parseLocator(locator);
      return text;
    },
  }),
  threads: Flags.integer({
    helpValue: "NUMBER",
    summary: "Threads of the compute engine; by default one for each core.",
    env: "CONNITO_THREADS",
    min: 1,
    max: 1024,
  }),
};

/** Which program trains: flag and arguments of the commands that do. */
export const trainerFlags = {
  backend: Flags.option({ options: ["engine", "command"] as const })({
    summary: "Who trains: the built-in engine, or the program after `--`, which docs/external-trainers.md describes.",
    default: "engine",
    env: "CONNITO_BACKEND",
  }),
  memory: Flags.string({
    helpValue: "SIZE",
    summary: "Memory that training may take, such as 12GiB; by default what is free. Where it is short, training goes layer by layer.",
    env: "CONNITO_MEMORY",
  }),
};
export const trainerArgs = {
  program: Args.string({ description: "With --backend command, after `--`: the program that trains, and its arguments.", multiple: true }),
};

/** The program that trains, where it is not the engine, and what training may take. @throws usage, program-not-started */
export async function trainerOf(
  { backend, memory }: { readonly backend: "engine" | "command"; readonly memory?: string | undefined },
  program: readonly string[] | undefined,
): Promise<Pick<Context, "trainer" | "memory">> {
  const given = program ?? [];
  const limit = memory === undefined ? {} : { memory: parseBytes(memory) };
  if (backend === "engine" && given.length === 0) return limit;
  if (backend === "command" && given.length > 0) {
    // Now, not hours later when its work begins.
    await requireProgram(given);
    return { ...limit, trainer: given };
  }
  throw new ConnitoError(backend === "command" ? "Which program?" : `Nothing is to run ${given[0]}: the engine does the work.`, {
    code: "usage",
    exit: "usage",
    hint: "Give `--backend command -- PROGRAM ARGUMENTS`.",
  });
}

/** The same for measuring losses. */
export const scorerFlags = {
  backend: Flags.option({ options: ["engine", "command"] as const })({
    summary: "Who measures losses: the built-in engine, or the program after `--`, which docs/external-trainers.md describes.",
    default: "engine",
    env: "CONNITO_BACKEND",
  }),
};
export const scorerArgs = {
  program: Args.string({
    description: "With --backend command, after `--`: the program that measures losses, and its arguments.",
    multiple: true,
  }),
};

/** The program that measures losses, where it is not the engine. @throws usage, program-not-started */
export async function scorerOf(backend: "engine" | "command", program: readonly string[] | undefined): Promise<Pick<Context, "scorer">> {
  const { trainer } = await trainerOf({ backend }, program);
  return trainer === undefined ? {} : { scorer: trainer };
}

/** Flags of the steps that belong to a cycle. */
export const cycleFlags = {
  cycle: Flags.integer({ helpValue: "NUMBER", summary: "The cycle; by default the one that the chain is in.", min: 0 }),
  wait: Flags.boolean({ summary: "Wait until the step's window opens, instead of failing with exit code 20." }),
};

interface ParticipantInvocation extends Pick<Invocation<never>, "signal" | "progress" | "password" | "onFinish"> {
  readonly flags: {
    readonly "state-dir": string;
    readonly network: string;
    readonly netuid?: number | undefined;
    readonly "wallet-name": string;
    readonly "wallet-path": string;
    readonly hotkey: string;
    readonly publish?: string | undefined;
    readonly peer?: string[] | undefined;
    readonly threads?: number | undefined;
  };
}

/**
 * Opens the state directory, the hotkey and the chain; all are closed when the command ends. Without the lock nothing can be written:
 * for commands that look on beside a running `cycle run`, or before anything was done.
 */
export async function openParticipant(
  { flags, signal, progress, password, onFinish }: ParticipantInvocation,
  { lock } = { lock: true },
): Promise<Context> {
  requireNetuid(flags.netuid);
  const signer = await openHotkey({ path: flags["wallet-path"], wallet: flags["wallet-name"], hotkey: flags.hotkey, password });
  const workspace = lock ? await openWorkspace(flags["state-dir"], { lock }) : await lookInto(flags["state-dir"], onFinish);
  onFinish(() => workspace.close());
  const chain = await connectChain({
    endpoints: resolveNetwork(flags.network),
    signal,
    notice: (message) => progress.note(message),
  });
  onFinish(() => chain.disconnect());
  return contextOver({ flags, progress, signal }, { chain, signer, workspace });
}

/** The context of steps that act through doors which are open already. */
export function contextOver(
  { flags, progress, signal }: Pick<ParticipantInvocation, "flags" | "progress" | "signal">,
  doors: Pick<Context, "chain" | "signer" | "workspace">,
): Context {
  return {
    ...doors,
    clock: createChainClock(doors.chain),
    netuid: requireNetuid(flags.netuid),
    ...(flags.publish === undefined ? {} : { locator: flags.publish }),
    peers: peersOf(flags.peer),
    threads: flags.threads ?? availableParallelism(),
    progress,
    signal,
  };
}

/** A state directory that is not there yet looks like an empty one, and is not made by looking. */
export async function lookInto(directory: string, onFinish: ParticipantInvocation["onFinish"]): Promise<Workspace> {
  try {
    return await openWorkspace(directory, { lock: false });
  } catch (error) {
    if (!(error instanceof ConnitoError) || error.code !== "state-not-initialised") throw error;
    const empty = await mkdtemp(join(tmpdir(), "connito-"));
    onFinish(() => rm(empty, { recursive: true, force: true }));
    return openWorkspace(empty, { lock: true });
  }
}

export interface CycleInvocation extends ParticipantInvocation {
  readonly flags: ParticipantInvocation["flags"] & { readonly cycle?: number | undefined; readonly wait: boolean };
}

/** A participant that has joined the subnet's task, and the cycle that the flags mean. */
export async function openCycle(
  invocation: CycleInvocation,
): Promise<{ context: Context; membership: Membership; input: { cycle: number; wait: boolean } }> {
  const context = await openParticipant(invocation);
  const membership = await joinTask(context);
  const { cycle: wanted, wait } = invocation.flags;
  const heads = await context.clock.now();
  const cycle = wanted ?? (wait ? (cycleAt(membership.task, heads.best) ?? 0) : currentCycle(membership.task, heads));
  // Every step of a cycle reads the chain at the block before it.
  if (wait) await context.clock.until(({ finalized }) => finalized.number >= viewBlock(membership, cycle), context.signal);
  return { context, membership, input: { cycle, wait } };
}

/** From the environment a flag that may be given several times comes as one text: peers are separated by commas there. */
function peersOf(given: string | readonly string[] | undefined): string[] {
  return [given ?? []].flat().flatMap((text) => text.split(","));
}

export function requireNetuid(netuid: number | undefined): number {
  if (netuid !== undefined) return netuid;
  throw new ConnitoError("Which subnet?", { code: "usage", exit: "usage", hint: "Give --netuid NUMBER, or set CONNITO_NETUID." });
}
