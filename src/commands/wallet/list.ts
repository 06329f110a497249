import * as v from "valibot";
import { listHotkeys } from "../../chain/wallet.ts";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { walletFlags } from "../../cli/flags.ts";

interface WalletList {
  readonly wallet: string;
  readonly path: string;
  readonly hotkeys: readonly string[];
}

const { "wallet-name": walletName, "wallet-path": walletPath } = walletFlags;

export default class ListWallet extends BaseCommand<typeof ListWallet, WalletList> {
  static override readonly summary = "List a wallet's hotkeys by name.";
  static override readonly examples = [
    "<%= config.bin %> wallet list",
    "<%= config.bin %> wallet list --wallet-name miners --json | jq -r '.hotkeys[]'",
  ];
  static override readonly flags = { "wallet-name": walletName, "wallet-path": walletPath };

  static override resultSchema() {
    return v.strictObject({ wallet: v.string(), path: v.string(), hotkeys: v.array(v.string()) });
  }

  protected override async perform({ flags }: Invocation<typeof ListWallet>): Promise<WalletList> {
    const location = { path: flags["wallet-path"], wallet: flags["wallet-name"] };
    return { ...location, hotkeys: await listHotkeys(location) };
  }

  protected override render({ wallet, path, hotkeys }: WalletList): string {
    return hotkeys.length === 0 ? `The wallet ${wallet} in ${path} has no hotkeys.` : hotkeys.join("\n");
  }
}
