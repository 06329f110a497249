/**
 * What a development chain needs before anybody can take part: balances, registrations, stake, and hyperparameters through sudo. The development
 * accounts' keys are known to everybody: nothing here is for a chain with value.
 */
import type { ApiPromise } from "@polkadot/api";
import type { SubmittableExtrinsic } from "@polkadot/api/types";
import type { Codec } from "@polkadot/types/types";
import { chainUnsupported } from "./chain-errors.ts";
import type { Chain } from "./client.ts";
import { ExtrinsicRejected, rejectedByRuntime } from "./refusals.ts";
import { developmentSigner, type Signer } from "./signer.ts";
import type { Inclusion } from "./transactions.ts";

export const raoPerTao = 1_000_000_000n;

/** A call by pallet and name as polkadot.js writes them. Throws `chain-unsupported`. */
export function callOf(api: ApiPromise, pallet: string, name: string, ...parameters: unknown[]): SubmittableExtrinsic<"promise"> {
  const call = api.tx[pallet]?.[name];
  if (call === undefined) throw chainUnsupported(`the call ${pallet}.${name}`);
  return call(...parameters);
}

/** Gives an account TAO from //Alice's balance. */
export async function faucet(chain: Chain, address: string, rao: bigint): Promise<Inclusion> {
  return chain.send({
    what: "the transfer",
    signer: await developmentSigner("//Alice"),
    call: (api) => callOf(api, "balances", "transferKeepAlive", address, rao),
  });
}

/** Registers a hotkey on a subnet, paid by `coldkey` (//Alice by default). Nothing happens where it is registered already. */
export async function registerNeuron(chain: Chain, netuid: number, hotkey: string, coldkey?: Signer): Promise<void> {
  const signer = coldkey ?? (await developmentSigner("//Alice"));
  try {
    await chain.send({ what: "the registration", signer, call: (api) => callOf(api, "subtensorModule", "burnedRegister", netuid, hotkey) });
  } catch (error) {
    if (!(error instanceof ExtrinsicRejected && error.reason === "subtensorModule.HotKeyAlreadyRegisteredInSubNet")) throw error;
  }
}

/** Stakes rao behind a hotkey; the validator permit comes with the next epoch. `coldkey` (//Alice by default) is the one that registered it. */
export async function addStake(chain: Chain, netuid: number, hotkey: string, rao: bigint, coldkey?: Signer): Promise<Inclusion> {
  const signer = coldkey ?? (await developmentSigner("//Alice"));
  return chain.send({ what: "the stake", signer, call: (api) => callOf(api, "subtensorModule", "addStake", hotkey, netuid, rao) });
}

interface SudoResult extends Codec {
  readonly isErr: boolean;
  readonly asErr: Codec;
}

/** Makes a call as root, with the chain's sudo key (//Alice by default); throws ExtrinsicRejected when the call inside it failed. */
export async function sudo(chain: Chain, call: (api: ApiPromise) => SubmittableExtrinsic<"promise">, key?: Signer): Promise<Inclusion> {
  const what = "the sudo call";
  return chain.send({
    what,
    signer: key ?? (await developmentSigner("//Alice")),
    call: (api) => callOf(api, "sudo", "sudo", call(api)),
    inspect: (state, events) => {
      const result = events.find(({ section, method }) => section === "sudo" && method === "Sudid")?.data[0] as SudoResult | undefined;
      if (result?.isErr === true) throw rejectedByRuntime(state, result.asErr, what);
    },
  });
}

/** Sets a subnet's hyperparameter through sudo: `tempo`, `weightsSetRateLimit`, `commitRevealWeightsEnabled`, `minAllowedWeights`. */
export function setHyperparameter(chain: Chain, netuid: number, name: string, value: number | bigint | boolean): Promise<Inclusion> {
  const call = `sudoSet${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  return sudo(chain, (api) => callOf(api, "adminUtils", call, netuid, value));
}
