import { Flags } from "@oclif/core";
import * as v from "valibot";
import { newHotkey } from "../../chain/new-hotkey.ts";
import { hotkeyPath } from "../../chain/wallet.ts";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { walletFlags } from "../../cli/flags.ts";
import { readInput } from "../../cli/input.ts";
import { fields } from "../../ui/table.ts";

interface NewWallet {
  readonly wallet: string;
  readonly hotkey: string;
  readonly address: string;
  readonly file: string;
  readonly encrypted: boolean;
}

const maximumPhraseBytes = 4096;

export default class WalletNew extends BaseCommand<typeof WalletNew, NewWallet> {
  static override readonly summary = "Make a hotkey, or restore one from its phrase, in the files that Bittensor's tools read.";
  static override readonly description =
    "The key file is readable by its owner only, and encrypted when --encrypt or --password-file is given. An existing hotkey is never overwritten.";
  static override readonly examples = [
    "<%= config.bin %> wallet new --wallet-name miners --hotkey first",
    "<%= config.bin %> wallet new --hotkey restored --phrase-file phrase.txt --password-file password.txt",
    {
      description: "A development account, for the local chain only:",
      command: "<%= config.bin %> wallet new --hotkey alice --uri //Alice",
    },
  ];

  static override readonly flags = {
    ...walletFlags,
    encrypt: Flags.boolean({ summary: "Encrypt the key file; asks for the password where none is given." }),
    "phrase-file": Flags.string({
      helpValue: "FILE|-",
      summary: "A file that holds the phrase of the hotkey to restore; - reads it from stdin.",
      exclusive: ["uri"],
    }),
    uri: Flags.string({ helpValue: "//NAME", summary: "The development account of this name; its secret is public." }),
  };

  static override resultSchema() {
    return v.strictObject({ wallet: v.string(), hotkey: v.string(), address: v.string(), file: v.string(), encrypted: v.boolean() });
  }

  protected override async perform({ flags, password, signal }: Invocation<typeof WalletNew>): Promise<NewWallet> {
    const location = { path: flags["wallet-path"], wallet: flags["wallet-name"], hotkey: flags.hotkey };
    const encrypted = flags.encrypt || flags["password-file"] !== undefined;
    const phraseFile = flags["phrase-file"];
    const from =
      phraseFile === undefined
        ? flags.uri === undefined
          ? undefined
          : { uri: flags.uri }
        : { phrase: new TextDecoder().decode(await readInput(phraseFile, { maximumBytes: maximumPhraseBytes, signal })).trim() };
    const signer = await newHotkey({
      ...location,
      ...(encrypted ? { password: await password() } : {}),
      ...(from === undefined ? {} : { from }),
    });
    return { wallet: location.wallet, hotkey: location.hotkey, address: signer.address, file: hotkeyPath(location), encrypted };
  }

  protected override render({ wallet, hotkey, address, file, encrypted }: NewWallet): string {
    return fields([
      ["wallet", wallet],
      ["hotkey", hotkey],
      ["address", address],
      ["file", file],
      ["encrypted", encrypted ? "yes" : "no"],
    ]);
  }
}
