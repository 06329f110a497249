import { Args, Flags } from "@oclif/core";
import * as v from "valibot";
import { type FaultKind, faultKinds, type Fault as LocalnetFault, type Refusal, refusals } from "../../chain/localnet/faults/fault.ts";
import { injectFault } from "../../chain/localnet/faults/inject.ts";
import { resolveNetwork } from "../../chain/networks.ts";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { parseDuration } from "../../cli/quantities.ts";

interface Injected {
  readonly fault: LocalnetFault;
}

const defaultFor = "10s";

export default class Fault extends BaseCommand<typeof Fault, Injected> {
  static override readonly summary =
    "Make a localnet misbehave, as public nodes do: forks, lost transactions, stalls, refusals, broken connections.";
  static override readonly description =
    "The localnet must have been started with --faults. A fault lasts for a count of transactions or blocks, or for a time, and ends by itself; `heal` ends all of them. fork: a longer branch comes, without transactions. drop: transactions are accepted and lost. hold: they wait some blocks. refuse: the pool refuses them. delay: answers come late. rate-limit: too many requests are refused. burst: blocks come at once. stall-finality and stall-blocks: the one or both stand still. disconnect and restart: connections break; after a restart the pool is empty.";
  static override readonly examples = [
    "<%= config.bin %> localnet --faults",
    "<%= config.bin %> <%= command.id %> fork --depth 2 --vanish",
    "<%= config.bin %> <%= command.id %> refuse --count 3 --reason full",
    "<%= config.bin %> <%= command.id %> stall-finality --blocks 30 && <%= config.bin %> <%= command.id %> heal",
  ];
  static override readonly args = { kind: Args.string({ required: true, options: [...faultKinds], description: "What to do." }) };
  static override readonly flags = {
    depth: Flags.integer({ helpValue: "BLOCKS", summary: "fork: how far below the head the branch leaves.", default: 1, min: 1 }),
    vanish: Flags.boolean({ summary: "fork: transactions of the lost blocks do not return to the pool." }),
    count: Flags.integer({ helpValue: "NUMBER", summary: "drop, hold, refuse: how many of the next transactions.", default: 1, min: 1 }),
    blocks: Flags.integer({
      helpValue: "NUMBER",
      summary: "hold, stall-finality: for so many blocks; burst: how many.",
      default: 10,
      min: 1,
    }),
    reason: Flags.option({ options: Object.keys(refusals) as Refusal[] })({ summary: "refuse: what the pool says.", default: "full" }),
    latency: Flags.string({ helpValue: "TIME", summary: "delay: how much later answers come.", default: "1s" }),
    "per-second": Flags.integer({ helpValue: "NUMBER", summary: "rate-limit: requests that a connection may make.", default: 10, min: 0 }),
    for: Flags.string({
      helpValue: "TIME",
      summary: "delay, rate-limit, stall-blocks, disconnect, restart: for how long.",
      default: defaultFor,
    }),
  };

  static override resultSchema() {
    return v.object({ fault: v.looseObject({ kind: v.picklist(faultKinds) }) });
  }

  protected async perform({ args, flags }: Invocation<typeof Fault>): Promise<Injected> {
    const fault = faultOf(args.kind as FaultKind, flags);
    await injectFault(resolveNetwork(flags.network), fault);
    return { fault };
  }

  protected render({ fault }: Injected): string {
    return `Injected: ${JSON.stringify(fault)}`;
  }
}

interface FaultFlags {
  readonly depth: number;
  readonly vanish: boolean;
  readonly count: number;
  readonly blocks: number;
  readonly reason: Refusal;
  readonly latency: string;
  readonly "per-second": number;
  readonly for: string;
}

function faultOf(kind: FaultKind, flags: FaultFlags): LocalnetFault {
  const { depth, count, blocks, reason } = flags;
  const seconds = parseDuration(flags.for) / 1000;
  switch (kind) {
    case "fork":
      return { kind, depth, transactions: flags.vanish ? "vanish" : "return" };
    case "drop":
      return { kind, count };
    case "hold":
      return { kind, count, blocks };
    case "refuse":
      return { kind, count, reason };
    case "delay":
      return { kind, milliseconds: parseDuration(flags.latency), seconds };
    case "rate-limit":
      return { kind, perSecond: flags["per-second"], seconds };
    case "burst":
    case "stall-finality":
      return { kind, blocks };
    case "heal":
      return { kind };
    default:
      return { kind, seconds };
  }
}
