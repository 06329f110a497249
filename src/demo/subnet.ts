/** The demo's subnet: a hotkey for everybody, registered and staked by real transactions of a development account. */

import { connectChain } from "../chain/client.ts";
import { addStake, registerNeuron } from "../chain/development.ts";
import { newHotkey } from "../chain/new-hotkey.ts";
import { netuid, type Participant, participants } from "./settings.ts";

export type Wallets = ReadonlyMap<string, { readonly address: string }>;

/** Makes the hotkeys, in wallet "demo". */
export async function createWallets(path: string, all: readonly Participant[]): Promise<Wallets> {
  const wallets = new Map<string, { address: string }>();
  for (const { name } of all) wallets.set(name, { address: (await newHotkey({ path, wallet: "demo", hotkey: name })).address });
  return wallets;
}

/** Registers everybody, stakes behind the validators, and waits until their permits are there. */
export async function setUpSubnet(network: string, wallets: Wallets, signal: AbortSignal): Promise<void> {
  const chain = await connectChain({ endpoints: [network], signal });
  try {
    const address = (name: string) => wallets.get(name)?.address ?? "";
    await Promise.all(participants.map(({ name }) => registerNeuron(chain, netuid, address(name))));
    const staked = participants.filter(({ stake }) => stake !== undefined);
    await Promise.all(staked.map(({ name, stake }) => addStake(chain, netuid, address(name), stake ?? 0n)));
    // Permits are given at the end of an epoch.
    for await (const { hash } of chain.followFinalized(signal)) {
      const neurons = await chain.neurons(netuid, hash);
      const permitted = new Set(neurons.filter((neuron) => neuron.validatorPermit).map((neuron) => neuron.hotkey));
      if (staked.every(({ name }) => permitted.has(address(name)))) break;
    }
  } finally {
    chain.disconnect();
  }
}
