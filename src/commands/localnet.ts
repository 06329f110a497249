import { readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { Flags } from "@oclif/core";
import * as v from "valibot";
import type { GenesisNeuron } from "../chain/localnet/index.ts";
import { defaultFinalityLag, defaultPruning, type Genesis, startLocalnet } from "../chain/localnet/index.ts";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { expandHome } from "../cli/flags.ts";
import { parseDuration, parseTao } from "../cli/quantities.ts";
import { makeDirectory } from "../files/replacing.ts";
import { publicKeyOf } from "../protocol/hotkey.ts";
import { writeAtomic } from "../workspace/files.ts";
import { acquireLock } from "../workspace/lock.ts";

interface EndedLocalnet {
  readonly endpoint: string;
  readonly port: number;
  readonly genesisHash: string;
  /** Number of the last block, and of the last finalised one. */
  readonly best: number;
  readonly finalized: number;
}

const defaultStake = "1000";
const largestMetadata = 64 << 20;

export default class Localnet extends BaseCommand<typeof Localnet, EndedLocalnet> {
  static override readonly summary = "Run an embedded chain that clients take for a Subtensor node, until it is stopped.";
  static override readonly description =
    "For development and tests on one machine: it has one author, and the keys of its development accounts (//Alice with sudo, //Bob, //Charlie, //Dave, //Eve, //Ferdie, each with 1,000,000 TAO) are known to everybody. It begins empty, or with one subnet when --owner names its owner. When it is ready it says so on stderr, and in --ready-file.";
  static override readonly examples = [
    "<%= config.bin %> localnet",
    "<%= config.bin %> localnet --port 9945 --block-time 500ms --state-dir ./chain",
    {
      description: "A subnet with an owner, a validator and two miners, by their addresses:",
      command: "<%= config.bin %> localnet --netuid 1 --owner $OWNER --validator $VALIDATOR=5000 --miner $FIRST --miner $SECOND",
    },
  ];

  static override readonly flags = {
    // In place of the flag that all commands have, which has a default: two chains with different beginnings must not meet there.
    "state-dir": Flags.directory({
      helpGroup: "GLOBAL",
      helpValue: "DIRECTORY",
      summary: "Keep the blocks here over a restart; in memory only when left out.",
      env: "CONNITO_STATE_DIR",
      parse: async (path) => resolve(expandHome(path)),
    }),
    port: Flags.integer({ helpValue: "PORT", summary: "Where to listen; 0 takes any free port.", default: 9944, min: 0, max: 65_535 }),
    host: Flags.string({ helpValue: "ADDRESS", summary: "Where to listen. Whoever reaches it can use sudo.", default: "127.0.0.1" }),
    "block-time": Flags.string({ helpValue: "TIME", summary: "Time between blocks, 50ms to 12s.", default: "12s" }),
    "finality-lag": Flags.integer({
      helpValue: "BLOCKS",
      summary: "How far finality trails the head.",
      default: defaultFinalityLag,
      min: 1,
    }),
    pruning: Flags.string({
      helpValue: "BLOCKS|archive",
      summary: "Finalised blocks whose state is kept.",
      default: String(defaultPruning),
    }),
    metadata: Flags.file({
      helpValue: "FILE",
      summary: "Serve this metadata (SCALE, may be gzipped or hex), and speak by its indices.",
      exists: true,
    }),
    faults: Flags.boolean({ summary: "Take faults from `localnet fault`." }),
    "ready-file": Flags.string({ helpValue: "FILE", summary: "Write the endpoint as JSON to this file when ready; removed at the end." }),
    netuid: Flags.integer({
      helpValue: "NUMBER",
      summary: "The subnet that --owner owns.",
      default: 1,
      min: 1,
      max: 65_535,
      env: "CONNITO_NETUID",
    }),
    owner: Flags.string({ helpValue: "ADDRESS", summary: "Begin with a subnet that this hotkey owns." }),
    validator: Flags.string({
      helpValue: "ADDRESS[=TAO]",
      summary: `Register this hotkey on the subnet, with stake (${defaultStake} TAO unless said) and a permit. May be given several times.`,
      multiple: true,
      dependsOn: ["owner"],
    }),
    miner: Flags.string({
      helpValue: "ADDRESS",
      summary: "Register this hotkey on the subnet. May be given several times.",
      multiple: true,
      dependsOn: ["owner"],
    }),
  };

  static override resultSchema() {
    return v.strictObject({ endpoint: v.string(), port: v.number(), genesisHash: v.string(), best: v.number(), finalized: v.number() });
  }

  protected override async perform({ flags, signal, progress, onFinish }: Invocation<typeof Localnet>): Promise<EndedLocalnet> {
    const stateDirectory: string | undefined = flags["state-dir"];
    const genesis = genesisOf(flags);
    const blockTime = parseDuration(flags["block-time"]);
    if (stateDirectory !== undefined) {
      await makeDirectory(stateDirectory);
      const lock = await acquireLock(join(stateDirectory, "lock"));
      onFinish(() => lock.release());
    }
    const localnet = await startLocalnet({
      port: flags.port,
      host: flags.host,
      blockTime,
      finalityLag: flags["finality-lag"],
      pruning: flags.pruning === "archive" ? "archive" : Number(flags.pruning),
      faults: flags.faults,
      ...(flags.metadata === undefined ? {} : { metadata: decodeMetadata(await readFile(flags.metadata)) }),
      ...(stateDirectory === undefined ? {} : { stateDirectory }),
      genesis,
    });
    onFinish(() => localnet.stop());
    const { endpoint, port, genesisHash } = localnet;
    const ready = { endpoint, port, genesisHash };
    const readyFile = flags["ready-file"];
    if (readyFile !== undefined) {
      await writeAtomic(readyFile, `${JSON.stringify({ ...ready, pid: process.pid })}\n`);
      onFinish(() => rm(readyFile, { force: true }));
    }
    progress.note(`Localnet at ${endpoint}`, { event: "ready", ...ready });
    // Being stopped is how it ends in order; anything else that ends it is a failure.
    const stopped = new Promise<undefined>((resolve) => {
      if (signal.aborted) resolve(undefined);
      signal.addEventListener("abort", () => resolve(undefined), { once: true });
    });
    const failure = await Promise.race([localnet.ended, stopped]);
    if (failure !== undefined) throw failure;
    return { ...ready, best: localnet.best().number, finalized: localnet.finalized().number };
  }

  protected override render({ best, finalized }: EndedLocalnet): string {
    return `Stopped at block ${best}, finalised to ${finalized}.`;
  }
}

const gzipMagic = 0x1f;

/** As clients save it: the bytes, or 0x-hex of them, either of them gzipped. */
function decodeMetadata(file: Buffer): Uint8Array {
  const plain = file[0] === gzipMagic ? gunzipSync(file, { maxOutputLength: largestMetadata }) : file;
  const hex = /^\s*"?0x([0-9a-fA-F]+)"?\s*$/.exec(plain.subarray(0, 4).includes("0x") ? plain.toString("latin1") : "");
  return new Uint8Array(hex === null ? plain : Buffer.from(hex[1] as string, "hex"));
}

interface SubnetFlags {
  readonly netuid: number;
  readonly owner?: string | undefined;
  readonly validator?: readonly string[] | undefined;
  readonly miner?: readonly string[] | undefined;
}

/** The owner is registered as well: only registered hotkeys may publish a task. A wrong address is refused with its reason. */
function genesisOf({ netuid, owner, validator = [], miner = [] }: SubnetFlags): Genesis {
  if (owner === undefined) return {};
  const neuron = (hotkey: string, rest: Partial<GenesisNeuron> = {}): GenesisNeuron => {
    publicKeyOf(hotkey);
    return { netuid, hotkey, ...rest };
  };
  const validators = validator.map((text) => {
    const [hotkey = "", tao = defaultStake] = text.split("=");
    return neuron(hotkey, { stake: parseTao(tao), validatorPermit: true });
  });
  return { subnets: [{ netuid, ownerHotkey: owner }], neurons: [neuron(owner), ...validators, ...miner.map((hotkey) => neuron(hotkey))] };
}
