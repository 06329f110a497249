/**
 * `npm run interoperability [-- DIRECTORY]`: clients that nobody here wrote, against a localnet. Makes a Python virtual environment with
 * the Bittensor SDK in the directory (default .interoperability, which git ignores) and keeps it for the next time; needs Python 3.10 and
 * the package registry. Prints what the client did, and fails when it did not.
 */

import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { Keyring } from "@polkadot/keyring";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import { startLocalnet } from "../src/chain/localnet/index.ts";

const bittensorVersion = "11.3.0";
const directory = resolve(process.argv[2] ?? ".interoperability");
const python = join(directory, "bin", "python");

function run(command: string, ...args: string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw error ?? new Error(`${command} ${args.join(" ")} ended with ${status}`);
}

if (!existsSync(python)) run("python3", "-m", "venv", directory);
run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", `bittensor==${bittensorVersion}`);

await cryptoWaitReady();
const keyring = new Keyring({ type: "sr25519" });
const [owner, validator, miner] = ["//Alice", "//Bob", "//Charlie"].map((uri) => keyring.addFromUri(uri).address) as [
  string,
  string,
  string,
];
const net = await startLocalnet({
  port: 0,
  blockTime: 500,
  genesis: {
    subnets: [{ netuid: 1, ownerHotkey: owner }],
    neurons: [
      { netuid: 1, hotkey: owner },
      { netuid: 1, hotkey: validator, stake: 1_000_000_000_000n },
      { netuid: 1, hotkey: miner },
    ],
  },
});
try {
  const script = join(import.meta.dirname, "interoperability", "bittensor_sdk.py");
  const { stdout } = await promisify(execFile)(python, [script, net.endpoint], { timeout: 120_000 });
  process.stdout.write(stdout);
} finally {
  await net.stop();
}
