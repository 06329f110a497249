/** What the localnet says it is: the Subtensor runtime whose calls and storage it speaks. */

import { u8aToHex } from "@polkadot/util";
import { blake2AsU8a } from "@polkadot/util-crypto";
import type { Hex } from "../metadata/scale.ts";

/** Runtime APIs and their versions, as the runtime version lists them. */
export const apiVersions = {
  Core: 5,
  Metadata: 2,
  BlockBuilder: 6,
  TaggedTransactionQueue: 3,
  AccountNonceApi: 1,
  TransactionPaymentApi: 4,
  NeuronInfoRuntimeApi: 1,
  SubnetInfoRuntimeApi: 2,
  StakeInfoRuntimeApi: 1,
} as const;

/** The identifier of a runtime API: blake2b-64 of its name. */
export const apiIdentifier = (name: string): Hex => u8aToHex(blake2AsU8a(name, 64));

export const version = {
  specName: "node-subtensor",
  implName: "node-subtensor",
  authoringVersion: 1,
  specVersion: 393,
  implVersion: 1,
  apis: Object.entries(apiVersions).map(([name, number]) => [apiIdentifier(name), number] as const),
  transactionVersion: 1,
  systemVersion: 1,
};
