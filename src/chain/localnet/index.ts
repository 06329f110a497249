/**
 * The embedded chain: a Substrate node in TypeScript that polkadot.js and other clients take for a Subtensor node. It speaks
 * the subset of Subtensor that this project's roles need, with calls and storage keys that are mainnet's to the byte. It is
 * for development and tests: it has one author, no consensus, and keys that everybody knows.
 */

import { ConnitoError } from "../../errors.ts";
import type { Localnet, LocalnetOptions } from "./options.ts";

export type { Genesis, GenesisHyperparameters, GenesisNeuron, GenesisSubnet } from "./genesis.ts";
export { type BlockReference, defaultFinalityLag, type Localnet, type LocalnetOptions } from "./options.ts";

const shortestBlockTime = 100;
const longestBlockTime = 12_000;
const longestFinalityLag = 1000;

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
  const { blockTime, finalityLag = 1, port } = options;
  checkOption(
    Number.isInteger(blockTime) && blockTime >= shortestBlockTime && blockTime <= longestBlockTime,
    "The block time is 100 to 12,000 ms",
  );
  checkOption(
    Number.isInteger(finalityLag) && finalityLag >= 1 && finalityLag <= longestFinalityLag,
    "The finality lag is 1 to 1,000 blocks",
  );
  checkOption(Number.isInteger(port) && port >= 0 && port <= 65_535, "The port is 0 to 65,535");
  const { startNode } = await import("./node.ts");
  return await startNode(options);
}
