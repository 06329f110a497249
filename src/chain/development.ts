/**
 * What a development chain needs before anybody can take part: balances, registrations, stake, and hyperparameters through sudo. The development
 * accounts' keys are known to everybody: nothing here is for a chain with value.
 */
import type { Chain } from "./client.ts";
import type { Call } from "./metadata.ts";
import { type DispatchError, ExtrinsicRejected, rejectedByRuntime } from "./refusals.ts";
import type { Runtime } from "./runtime.ts";
import { developmentSigner, type Signer } from "./signer.ts";
import type { Inclusion } from "./transactions.ts";

export const raoPerTao = 1_000_000_000n;

/** Gives an account TAO from //Alice's balance. */
export async function faucet(chain: Chain, address: string, rao: bigint): Promise<Inclusion> {
  return chain.send({
    what: "the transfer",
    signer: await developmentSigner("//Alice"),
    call: { pallet: "Balances", name: "transfer_keep_alive", args: { dest: { type: "Id", value: address }, value: rao } },
  });
}

/** Registers a hotkey on a subnet, paid by `coldkey` (//Alice by default). Nothing happens where it is registered already. */
export async function registerNeuron(chain: Chain, netuid: number, hotkey: string, coldkey?: Signer): Promise<void> {
  const signer = coldkey ?? (await developmentSigner("//Alice"));
  try {
    const call = { pallet: "SubtensorModule", name: "burned_register", args: { netuid, hotkey } };
    await chain.send({ what: "the registration", signer, call });
  } catch (error) {
    if (!(error instanceof ExtrinsicRejected && error.reason === "SubtensorModule.HotKeyAlreadyRegisteredInSubNet")) throw error;
  }
}

/** Stakes rao behind a hotkey; the validator permit comes with the next epoch. `coldkey` (//Alice by default) is the one that registered it. */
export async function addStake(chain: Chain, netuid: number, hotkey: string, rao: bigint, coldkey?: Signer): Promise<Inclusion> {
  const signer = coldkey ?? (await developmentSigner("//Alice"));
  const call = { pallet: "SubtensorModule", name: "add_stake", args: { hotkey, netuid, amount_staked: rao } };
  return chain.send({ what: "the stake", signer, call });
}

interface Sudid {
  readonly sudo_result: { readonly success: boolean; readonly value: DispatchError };
}

/** Makes a call as root, with the chain's sudo key (//Alice by default); throws ExtrinsicRejected when the call inside it failed. */
export async function sudo(chain: Chain, call: (runtime: Runtime) => Call, key?: Signer): Promise<Inclusion> {
  const what = "the sudo call";
  return chain.send({
    what,
    signer: key ?? (await developmentSigner("//Alice")),
    call: (runtime) => {
      const { pallet, name, args } = call(runtime);
      return { pallet: "Sudo", name: "sudo", args: { call: { type: pallet, value: { type: name, value: args } } } };
    },
    inspect: (state, events) => {
      const sudid = events.find(({ pallet, name }) => pallet === "Sudo" && name === "Sudid")?.data as Sudid | undefined;
      if (sudid?.sudo_result.success === false) throw rejectedByRuntime(state, sudid.sudo_result.value, what);
    },
  });
}

/** `weightsSetRateLimit` as Rust writes it: `weights_set_rate_limit`. */
function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Sets a subnet's hyperparameter through sudo: `tempo`, `weightsSetRateLimit`, `commitRevealWeightsEnabled`, `minAllowedWeights`. */
export function setHyperparameter(chain: Chain, netuid: number, parameter: string, value: number | bigint | boolean): Promise<Inclusion> {
  const name = `sudo_set_${snakeCase(parameter)}`;
  return sudo(chain, ({ codecs }) => {
    const [subnet = "netuid", setting = "value"] = codecs.argumentsOf("AdminUtils", name);
    return { pallet: "AdminUtils", name, args: { [subnet]: netuid, [setting]: value } };
  });
}
