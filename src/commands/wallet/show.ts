import * as v from "valibot";
import { hotkeyPath, openHotkey } from "../../chain/wallet.ts";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { walletFlags } from "../../cli/flags.ts";
import { fields } from "../../ui/table.ts";

interface ShownWallet {
  readonly wallet: string;
  readonly hotkey: string;
  readonly address: string;
  /** Hexadecimal digits. */
  readonly publicKey: Uint8Array;
  readonly file: string;
}

export default class WalletShow extends BaseCommand<typeof WalletShow, ShownWallet> {
  static override readonly summary = "Open a hotkey and show its address: a check that the file and the password are right.";
  static override readonly description = "Nothing secret is shown.";
  static override readonly examples = [
    "<%= config.bin %> wallet show --wallet-name miners --hotkey first",
    "<%= config.bin %> wallet show --hotkey first --password-file password.txt --json | jq -r .address",
  ];
  static override readonly flags = walletFlags;

  static override resultSchema() {
    return v.strictObject({ wallet: v.string(), hotkey: v.string(), address: v.string(), publicKey: v.string(), file: v.string() });
  }

  protected override async perform({ flags, password }: Invocation<typeof WalletShow>): Promise<ShownWallet> {
    const location = { path: flags["wallet-path"], wallet: flags["wallet-name"], hotkey: flags.hotkey };
    const { address, publicKey } = await openHotkey({ ...location, password });
    return { wallet: location.wallet, hotkey: location.hotkey, address, publicKey, file: hotkeyPath(location) };
  }

  protected override render({ wallet, hotkey, address, publicKey, file }: ShownWallet): string {
    return fields([
      ["wallet", wallet],
      ["hotkey", hotkey],
      ["address", address],
      ["public key", Buffer.from(publicKey).toString("hex")],
      ["file", file],
    ]);
  }
}
