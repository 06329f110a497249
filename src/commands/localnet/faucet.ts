import { Args, Flags } from "@oclif/core";
import * as v from "valibot";
import { connectChain } from "../../chain/client.ts";
import { faucet } from "../../chain/development.ts";
import { resolveNetwork } from "../../chain/networks.ts";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { parseTao } from "../../cli/quantities.ts";
import { publicKeyOf } from "../../protocol/hotkey.ts";
import { formatTao } from "../../ui/format.ts";

interface Given {
  readonly address: string;
  readonly given: bigint;
  /** The account's free balance in rao afterwards. */
  readonly balance: bigint;
  readonly block: number;
}

export default class LocalnetFaucet extends BaseCommand<typeof LocalnetFaucet, Given> {
  static override readonly summary = "Give an account of the embedded chain some TAO.";
  static override readonly description = "A transfer from the development account //Alice, which only exists on development chains.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> 5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty",
    "<%= config.bin %> <%= command.id %> $ADDRESS --amount 2.5 --json",
  ];
  static override readonly args = { address: Args.string({ required: true, description: "The account, as an SS58 address." }) };
  static override readonly flags = {
    amount: Flags.string({ helpValue: "TAO", summary: "How much.", default: "100" }),
  };

  static override resultSchema() {
    return v.object({ address: v.string(), given: v.string(), balance: v.string(), block: v.number() });
  }

  protected async perform({ args, flags, signal, onFinish }: Invocation<typeof LocalnetFaucet>): Promise<Given> {
    const { address } = args;
    publicKeyOf(address);
    const given = parseTao(flags.amount);
    const chain = await connectChain({ endpoints: resolveNetwork(flags.network), signal });
    onFinish(() => chain.disconnect());
    const { block, hash } = await faucet(chain, address, given);
    return { address, given, balance: await chain.balance(address, hash), block };
  }

  protected render({ address, given, balance, block }: Given): string {
    return `${address} got ${formatTao(given)} in block ${block}; it has ${formatTao(balance)} now.`;
  }
}
