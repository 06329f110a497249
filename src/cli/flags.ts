/**
 * The flags that commands share, each with its environment variable. A flag given on the command line wins over the environment,
 * which wins over the default. Commands spread the groups that they need into their own flags.
 */

import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { Flags } from "@oclif/core";
import { progressKinds } from "../ui/progress.ts";

const helpGroup = "GLOBAL";

/** Where a participant keeps its objects, journal and secrets. One directory belongs to one hotkey. */
export const stateFlags = {
  "state-dir": Flags.directory({
    helpGroup,
    helpValue: "DIRECTORY",
    summary: "Where this participant keeps its state: one directory a hotkey.",
    env: "CONNITO_STATE_DIR",
    default: async () => join(homedir(), ".connito"),
    defaultHelp: async () => "~/.connito",
    noCacheDefault: true,
    parse: async (path) => resolve(expandHome(path)),
  }),
};

const networkFlag = {
  network: Flags.string({
    helpGroup,
    helpValue: "NAME|URL",
    summary: "The chain: finney, test, archive, local, or a WebSocket address.",
    description: "Also read from BT_SUBTENSOR_CHAIN_ENDPOINT and BT_SUBTENSOR_NETWORK, in that order.",
    env: "CONNITO_NETWORK",
    default: async () => process.env["BT_SUBTENSOR_CHAIN_ENDPOINT"] || process.env["BT_SUBTENSOR_NETWORK"] || "local",
    defaultHelp: async () => "local",
    noCacheDefault: true,
  }),
};

/** What every command takes. `--json` is oclif's own and stands beside these in every help. */
export const baseFlags = {
  ...stateFlags,
  ...networkFlag,
  "no-input": Flags.boolean({
    helpGroup,
    summary: "Never ask: fail and name the flag that is missing.",
    env: "CONNITO_NO_INPUT",
  }),
  progress: Flags.option({ options: ["auto", ...progressKinds] as const })({
    helpGroup,
    summary: "How progress is shown on stderr; auto is a spinner on a terminal, lines elsewhere.",
    env: "CONNITO_PROGRESS",
    default: "auto",
  }),
};

/** Which chain and which subnet. */
export const chainFlags = {
  ...networkFlag,
  netuid: Flags.integer({
    helpValue: "NUMBER",
    summary: "The subnet.",
    env: "CONNITO_NETUID",
    min: 0,
    max: 65_535,
  }),
};

/** Whose hotkey. The names, environment variables and directories are those of Bittensor's own tools. */
export const walletFlags = {
  "wallet-name": Flags.string({
    helpValue: "NAME",
    summary: "The wallet that holds the hotkey.",
    env: "BT_WALLET_NAME",
    default: "default",
  }),
  "wallet-path": Flags.directory({
    helpValue: "DIRECTORY",
    summary: "Where wallets are kept.",
    env: "BT_WALLET_PATH",
    default: async () => join(homedir(), ".bittensor", "wallets"),
    defaultHelp: async () => "~/.bittensor/wallets",
    noCacheDefault: true,
    parse: async (path) => resolve(expandHome(path)),
  }),
  hotkey: Flags.string({
    helpValue: "NAME",
    summary: "The hotkey, by its name in the wallet.",
    env: "BT_WALLET_HOTKEY",
    default: "default",
  }),
  "password-file": Flags.string({
    helpValue: "FILE|-",
    summary: "A file that holds the hotkey's password; - reads it from stdin.",
    description: "Only an encrypted hotkey needs one. CONNITO_PASSWORD is the last resort: other processes of the same user can read it.",
  }),
};

/** `~` at the start of a path, which no shell has expanded in an environment file or a systemd unit. */
export function expandHome(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}
