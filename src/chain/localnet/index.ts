/**
 * The embedded chain: a Substrate node in TypeScript that polkadot.js and other clients take for a Subtensor node. It speaks
 * the subset of Subtensor that this project's roles need, with calls and storage keys that are mainnet's to the byte. It is
 * for development and tests: it has one author, no consensus, and keys that everybody knows.
 */

import { ConnitoError } from "../../errors.ts";
import { defaultPruning, type Localnet, type LocalnetOptions } from "./options.ts";

export type { Genesis, GenesisHyperparameters, GenesisNeuron, GenesisSubnet } from "./genesis.ts";
export { type BlockReference, defaultFinalityLag, defaultPruning, type Localnet, type LocalnetOptions } from "./options.ts";

const shortestBlockTime = 50;
const longestBlockTime = 12_000;
const longestFinalityLag = 1000;

const loopback = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

function checkOption(holds: boolean, message: string): void {
  if (!holds) {
    throw new ConnitoError(message, { code: "localnet-option-invalid", exit: "usage", hint: "See `connito localnet --help`." });
  }
}

/**
 * Starts a localnet in this process.
 * @throws ConnitoError localnet-option-invalid, port-in-use, listen-failed, genesis-invalid, genesis-mismatch (the state
 * directory was made with another genesis), localnet-log-corrupt, state-directory-unusable
 */
export async function startLocalnet(options: LocalnetOptions): Promise<Localnet> {
  const { blockTime, faults = false, finalityLag = 1, host = "127.0.0.1", port, pruning = defaultPruning } = options;
  checkOption(
    Number.isInteger(blockTime) && blockTime >= shortestBlockTime && blockTime <= longestBlockTime,
    "The block time is 50 to 12,000 ms",
  );
  checkOption(
    Number.isInteger(finalityLag) && finalityLag >= 1 && finalityLag <= longestFinalityLag,
    "The finality lag is 1 to 1,000 blocks",
  );
  checkOption(Number.isInteger(port) && port >= 0 && port <= 65_535, "The port is 0 to 65,535");
  checkOption(pruning === "archive" || (Number.isInteger(pruning) && pruning >= 1), "Pruning is a number of blocks, or archive");
  checkOption(!faults || loopback.test(host), "Faults are injected by whoever reaches the port: only on a loopback address");
  const { startNode } = await import("./node.ts");
  return await startNode(options);
}
