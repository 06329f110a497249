import { Flags } from "@oclif/core";
import * as v from "valibot";
import { connectChain } from "../../chain/client.ts";
import { addStake, raoPerTao, registerNeuron } from "../../chain/development.ts";
import { resolveNetwork } from "../../chain/networks.ts";
import { openHotkey } from "../../chain/wallet.ts";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { chainFlags, walletFlags } from "../../cli/flags.ts";
import { requireNetuid } from "../../cli/participant.ts";
import { formatTao } from "../../ui/format.ts";

interface Registered {
  readonly hotkey: string;
  readonly netuid: number;
  readonly uid: number;
  readonly stake: bigint;
  readonly validatorPermit: boolean;
}

export default class LocalnetRegister extends BaseCommand<typeof LocalnetRegister, Registered> {
  static override readonly summary = "Register a hotkey on a subnet of the embedded chain, and stake behind it.";
  static override readonly description =
    "Paid by the development account //Alice, which only exists on development chains. With stake it waits for the validator permit, which comes with the next epoch. On real networks use btcli.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --hotkey miner",
    "<%= config.bin %> <%= command.id %> --netuid 1 --hotkey validator --stake 100",
  ];
  static override readonly flags = {
    ...chainFlags,
    ...walletFlags,
    stake: Flags.integer({ helpValue: "TAO", summary: "Stake behind the hotkey; with any, it becomes a validator.", min: 1 }),
  };

  static override resultSchema() {
    return v.object({ hotkey: v.string(), netuid: v.number(), uid: v.number(), stake: v.string(), validatorPermit: v.boolean() });
  }

  protected async perform({ flags, password, progress, signal, onFinish }: Invocation<typeof LocalnetRegister>): Promise<Registered> {
    const netuid = requireNetuid(flags.netuid);
    const { address } = await openHotkey({ path: flags["wallet-path"], wallet: flags["wallet-name"], hotkey: flags.hotkey, password });
    const chain = await connectChain({ endpoints: resolveNetwork(flags.network), signal });
    onFinish(() => chain.disconnect());
    await registerNeuron(chain, netuid, address);
    const wanted = BigInt(flags.stake ?? 0) * raoPerTao;
    if (wanted > 0n) {
      await addStake(chain, netuid, address, wanted);
      progress.start("Waiting for the epoch that gives the permit");
    }
    for await (const { hash } of chain.followFinalized(signal)) {
      const neuron = (await chain.neurons(netuid, hash)).find(({ hotkey }) => hotkey === address);
      if (neuron === undefined || (wanted > 0n && !neuron.validatorPermit)) continue;
      if (wanted > 0n) progress.succeed("Validator permit given");
      return { hotkey: address, netuid, uid: neuron.uid, stake: neuron.stake, validatorPermit: neuron.validatorPermit };
    }
    throw signal.reason;
  }

  protected render({ hotkey, netuid, uid, stake, validatorPermit }: Registered): string {
    return `${hotkey} is neuron ${uid} of subnet ${netuid}, stake ${formatTao(stake)}${validatorPermit ? ", validator" : ""}.`;
  }
}
