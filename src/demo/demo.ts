/**
 * The whole system on one machine, offline: an embedded chain, an owner, two validators and five miners, each a process of its own with
 * its own hotkey and state directory, on real text. Two of the miners are attackers.
 */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConnitoError } from "../errors.ts";
import type { CreateTaskResult } from "../steps/distribute/create-task.ts";
import { formatBytes } from "../ui/format.ts";
import type { Progress } from "../ui/progress.ts";
import { chaos } from "./chaos.ts";
import { followBlocks } from "./follow-blocks.ts";
import { freePort } from "./free-port.ts";
import { type ManagedProcess, type ProcessEvent, type ProcessOptions, runCommand, startProcess } from "./processes.ts";
import { collectReport, type DemoReport } from "./report.ts";
import {
  blockMilliseconds,
  cycleBlocks,
  defaultFamily,
  groups,
  leadBlocks,
  modelFlags,
  netuid,
  type Participant,
  participants,
  pretrainSeconds,
  sequenceLength,
  taskOverrides,
} from "./settings.ts";
import { createWallets, setUpSubnet } from "./subnet.ts";
import { writeTexts } from "./texts.ts";

export interface DemoInput {
  readonly cycles: number;
  /** Of the base model; `defaultFamily` when absent. */
  readonly family?: string;
  /** Where everything is kept; a temporary directory, removed at the end, when absent. */
  readonly directory?: string;
  /** Seconds of pre-training of the base. */
  readonly pretrainSeconds?: number;
  /** Kills every role's process with SIGKILL at moments drawn from this seed, and starts it again. */
  readonly chaosSeed?: number;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** Runs the demo to its end. @throws demo-process-failed, which names the log; and whatever setting up throws */
export async function runDemo(input: DemoInput): Promise<DemoReport> {
  const started = performance.now();
  const directory = input.directory ?? (await mkdtemp(join(tmpdir(), "connito-demo-")));
  await mkdir(join(directory, "logs"), { recursive: true });
  const running: ManagedProcess[] = [];
  try {
    const report = await play(input, directory, running);
    return { ...report, seconds: Math.round((performance.now() - started) / 100) / 10 };
  } finally {
    await Promise.all(running.map((managed) => managed.stop()));
    if (input.directory === undefined && !input.signal.aborted) await rm(directory, { recursive: true, force: true });
  }
}

async function play(input: DemoInput, directory: string, running: ManagedProcess[]): Promise<Omit<DemoReport, "seconds">> {
  const { progress, signal, cycles } = input;
  const base = join(directory, "base");
  const walletPath = join(directory, "wallets");
  const chainPort = await freePort();
  const network = `ws://127.0.0.1:${chainPort}`;
  const ports = new Map<string, number>();
  for (const { name } of participants) ports.set(name, await freePort());
  const locatorOf = (name: string) => `http://127.0.0.1:${ports.get(name)}`;

  const optionsOf = (name: string, args: readonly string[], onEvent?: (event: ProcessEvent) => void): ProcessOptions => ({
    name,
    args,
    env: {
      CONNITO_NETWORK: network,
      CONNITO_NETUID: String(netuid),
      CONNITO_STATE_DIR: join(directory, "state", name),
      CONNITO_THREADS: "1",
      BT_WALLET_PATH: walletPath,
      BT_WALLET_NAME: "demo",
      BT_WALLET_HOTKEY: name,
    },
    log: join(directory, "logs", `${name}.log`),
    ...(onEvent === undefined ? {} : { onEvent }),
  });
  const command = (name: string, args: readonly string[], onEvent?: (event: ProcessEvent) => void) =>
    runCommand(optionsOf(name, args, onEvent), signal);

  const texts = await writeTexts(directory);
  const wallets = await createWallets(walletPath, participants);
  const localnetArguments = [
    ...["localnet", "--port", String(chainPort), "--block-time", `${blockMilliseconds}ms`],
    ...["--owner", wallets.get("owner")?.address ?? ""],
  ];
  let isListening = (): void => undefined;
  const listening = new Promise<void>((resolve) => {
    isListening = resolve;
  });
  const localnet = await startProcess(
    optionsOf("localnet", localnetArguments, ({ event }) => {
      if (event === "ready") isListening();
    }),
  );
  running.push(localnet);
  progress.note(`Subnet ${netuid} on ${network}: ${participants.map(({ name }) => name).join(", ")}`);
  // Permits come with the chain's next epoch: meanwhile the base is trained. On a busy machine the node takes longer to listen than a client waits.
  const subnetReady = Promise.race([listening, localnet.done]).then(() => setUpSubnet(network, wallets, signal));
  subnetReady.catch(() => undefined);

  const seconds = input.pretrainSeconds ?? pretrainSeconds;
  await command("model-init", ["model", "init", base, ...modelFlags(input.family ?? defaultFamily)]);
  progress.start(`Pre-training the base for ${seconds} s`, 100);
  const pretrained = await command(
    "model-pretrain",
    [
      "model",
      "pretrain",
      base,
      ...texts.flatMap(({ train }) => ["--text", train]),
      "--seconds",
      String(seconds),
      "--sequence-length",
      String(sequenceLength),
      "--threads",
      "2",
    ],
    ({ event, done, detail }) => {
      if (event === "update") progress.update(Number(done), String(detail));
    },
  );
  progress.succeed(
    `Base pre-trained: loss ${Number(pretrained["firstLoss"]).toFixed(3)} -> ${Number(pretrained["lastLoss"]).toFixed(3)} nats per token`,
  );

  await subnetReady;
  const taskFile = join(directory, "task.json");
  await writeFile(taskFile, JSON.stringify(taskOverrides));
  progress.start("Creating the task");
  const { task, taskHash, slices } = (await command("owner", [
    ...["task", "create", "--name", "demo", "--model", base, "--groups", String(groups), "--from", taskFile],
    ...texts.flatMap(({ name, train, heldOut }) => ["--domain", `${name}=${train},${heldOut}`]),
    ...["--sample-tokens", "8192", "--lead", String(leadBlocks), "--publish", locatorOf("owner")],
  ])) as Pick<CreateTaskResult, "task" | "taskHash" | "slices">;
  progress.succeed(`Task ${taskHash.slice(0, 10)} starts at block ${task.cycle.startBlock}`);
  for (const [group, { backbone, experts, standIns }] of slices.entries()) {
    const parts = `backbone ${formatBytes(backbone)}, experts ${formatBytes(experts)}, stand-ins ${formatBytes(standIns)}`;
    progress.note(`  a slice of group ${group}: ${parts}`);
  }

  const follower = createFollower(progress, cycles);
  const processes = new Map<string, ManagedProcess>();
  for (const participant of participants) {
    const managed = await startProcess(
      optionsOf(participant.name, runArguments(participant, directory, locatorOf(participant.name), cycles), (event) =>
        follower.onEvent(participant, event),
      ),
    );
    running.push(managed);
    processes.set(participant.name, managed);
  }
  const stopChaos =
    input.chaosSeed === undefined
      ? () => {}
      : chaos([...processes.values()], {
          seed: input.chaosSeed,
          milliseconds: (leadBlocks + cycles * cycleBlocks) * blockMilliseconds,
          progress,
        });
  const ended = new AbortController();
  followBlocks(network, task, progress, AbortSignal.any([ended.signal, signal])).catch(() => undefined);
  try {
    await follower.wait([localnet, ...processes.values()], signal);
    // The owner measures the last version after validators have published it: it ends last.
    await owner(processes).done;
  } finally {
    ended.abort();
    stopChaos();
  }
  return { ...(await collectReport({ directory, network, wallets, cycles, task: taskHash, signal })), slices };
}

function owner(processes: ReadonlyMap<string, ManagedProcess>): ManagedProcess {
  const managed = processes.get("owner");
  if (managed === undefined) throw new Error("the demo has an owner");
  return managed;
}

function runArguments({ name, role, attack }: Participant, directory: string, locator: string, cycles: number): string[] {
  const common = ["--publish", locator];
  if (attack !== undefined) {
    const victims = participants.filter((victim) => victim.role === "miner" && victim.attack === undefined && victim.name !== name);
    return ["demo", "attack", attack, ...common, ...victims.flatMap((victim) => ["--victim", join(directory, "state", victim.name)])];
  }
  // Miners and validators go on serving until the demo stops them; the owner says when the last cycle is measured.
  return ["cycle", "run", "--role", role, ...common, ...(role === "owner" ? ["--cycles", String(cycles)] : [])];
}

/** Shows what the processes say, and knows when every validator has finished the last cycle. */
function createFollower(progress: Progress, cycles: number) {
  const finished = new Set<string>();
  const validators = participants.filter(({ role }) => role === "validator");
  let finish: () => void = () => {};
  const allFinished = new Promise<void>((resolve) => {
    finish = resolve;
  });

  const onEvent = ({ name, role }: Participant, event: ProcessEvent) => {
    if (event.event !== "step") return;
    const { cycle, step, outcome, result, error } = event as unknown as StepLine;
    if (outcome === "failed") progress.note(`  ${name}: ${step} of cycle ${cycle} failed: ${error?.message ?? ""}`);
    if (outcome !== "done" || result === undefined) {
      if (role === "validator" && step === "set-weights" && cycle >= cycles - 1) done(name);
      return;
    }
    if (role === "miner" && step === "train" && result.steps)
      progress.note(`  ${name}: ${result.steps} steps on group ${result.group}, loss ${Number(result.loss).toFixed(3)}`);
    if (role === "validator" && step === "merge")
      progress.note(`  ${name}: cycle ${cycle} -> version ${result.root?.slice(0, 10)}, scale ${result.scale}`);
    if (role === "owner" && result.loss !== undefined && step === "measure-result")
      progress.note(`Cycle ${cycle}: held-out loss ${describeLoss(result.loss)}`);
    if (role === "owner" && cycle === 0 && step === "measure") progress.note(`Base: held-out loss ${describeLoss(result.loss)}`);
    if (role === "validator" && step === "set-weights" && cycle >= cycles - 1) done(name);
  };

  const done = (name: string) => {
    finished.add(name);
    if (validators.every((validator) => finished.has(validator.name))) finish();
  };

  return {
    onEvent,
    /** Resolves when all validators are done; rejects when any process ends before that, or the demo is stopped. */
    async wait(processes: readonly ManagedProcess[], signal: AbortSignal): Promise<void> {
      const aborted = new Promise<never>((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
      );
      const lost = processes
        .filter(({ name }) => name !== "owner")
        .map(({ name, done: ended }) =>
          ended.then(() => {
            throw new ConnitoError(`${name} ended before the demo did.`, {
              code: "demo-process-failed",
              exit: "unexpected",
              hint: "Run with --directory to keep its log.",
            });
          }),
        );
      await Promise.race([allFinished, aborted, ...lost]);
    },
  };
}

interface StepLine {
  readonly cycle: number;
  readonly step: string;
  readonly outcome: "done" | "skipped" | "failed";
  readonly result?: {
    readonly steps?: number;
    readonly group?: number;
    readonly root?: string;
    readonly scale?: number;
    readonly loss?: unknown;
  };
  readonly error?: { readonly message: string };
}

function describeLoss(loss: unknown): string {
  return Object.entries(loss as Record<string, number>)
    .map(([domain, value]) => `${domain} ${value.toFixed(4)}`)
    .join(", ");
}
