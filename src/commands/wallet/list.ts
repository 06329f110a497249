import { Flags } from "@oclif/core";
import * as v from "valibot";
import { listHotkeys, listWallets, statedAddress } from "../../chain/wallet.ts";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { walletFlags } from "../../cli/flags.ts";
import { table } from "../../ui/table.ts";

interface WalletList {
  readonly path: string;
  readonly hotkeys: readonly { readonly wallet: string; readonly hotkey: string; readonly address?: string }[];
}

export default class ListWallet extends BaseCommand<typeof ListWallet, WalletList> {
  static override readonly summary = "List wallets and their hotkeys.";
  static override readonly description = "Addresses are what the public files say; nothing is opened, so that no password is asked for.";
  static override readonly examples = [
    "<%= config.bin %> wallet list",
    "<%= config.bin %> wallet list --wallet-name miners --json | jq -r '.hotkeys[].address'",
  ];
  static override readonly flags = {
    "wallet-path": walletFlags["wallet-path"],
    "wallet-name": Flags.string({ helpValue: "NAME", summary: "Only this wallet.", env: "BT_WALLET_NAME" }),
  };

  static override resultSchema() {
    const hotkey = v.strictObject({ wallet: v.string(), hotkey: v.string(), address: v.optional(v.string()) });
    return v.strictObject({ path: v.string(), hotkeys: v.array(hotkey) });
  }

  protected override async perform({ flags }: Invocation<typeof ListWallet>): Promise<WalletList> {
    const path = flags["wallet-path"];
    const wallets = flags["wallet-name"] === undefined ? await listWallets(path) : [flags["wallet-name"]];
    const hotkeys: WalletList["hotkeys"][number][] = [];
    for (const wallet of wallets) {
      for (const hotkey of await listHotkeys({ path, wallet })) {
        const address = await statedAddress({ path, wallet, hotkey });
        hotkeys.push({ wallet, hotkey, ...(address !== undefined && { address }) });
      }
    }
    return { path, hotkeys };
  }

  protected override render({ path, hotkeys }: WalletList): string {
    if (hotkeys.length === 0) return `There are no hotkeys in ${path}.`;
    return table(
      ["wallet", "hotkey", "address"],
      hotkeys.map(({ wallet, hotkey, address = "?" }) => [wallet, hotkey, address]),
    );
  }
}
