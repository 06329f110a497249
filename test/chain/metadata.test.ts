/**
 * The client goes by the chain's metadata and by nothing else: the same work is done on localnets that serve the localnet's own metadata,
 * mainnet's, and both with other indices under the same names. `npm run conformance` runs all of this room's tests so.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import { addStake, faucet, registerNeuron, setHyperparameter } from "../../src/chain/development.ts";
import { createRuntime } from "../../src/chain/localnet/runtime/runtime.ts";
import { shuffleIndices } from "./localnet/metadata-changes.ts";
import { createOpened, netuid, people } from "./support.ts";

const mainnet = (): Uint8Array =>
  new Uint8Array(gunzipSync(readFileSync(join(import.meta.dirname, "localnet/fixture/subtensor-metadata.scale.gz"))));
const own = (): Uint8Array => Buffer.from((createRuntime(100).metadata.encoded(15) as string).slice(2), "hex");

const seed = 20_261_123;
const served: [string, () => Uint8Array][] = [
  ["mainnet's", mainnet],
  ["mainnet's with other indices", () => shuffleIndices(mainnet(), seed)],
  ["the localnet's own with other indices", () => shuffleIndices(new Uint8Array(own()), seed)],
];

describe("chain/metadata", () => {
  const opened = createOpened();
  before(() => cryptoWaitReady());
  afterEach(() => opened.close());

  for (const [name, bytes] of served) {
    it(`works by ${name}`, async () => {
      const who = await people();
      const metadata = bytes();
      assert.equal(createRuntime(100, metadata).metadata.indices.pallet("Commitments") === 18, name === "mainnet's");
      const net = await opened.localnet({ metadata, finalityLag: 1 });
      const chain = await opened.chain(net.endpoint);

      const written = await chain.setCommitment(who.miners[0], netuid, Uint8Array.of(1, 2, 3));
      const [commitment] = await chain.commitments(netuid, written.hash);
      assert.equal(commitment?.hotkey, who.miners[0].address);
      assert.deepEqual(commitment.fields[0], Uint8Array.of(1, 2, 3));
      assert.equal(await chain.extrinsicIndex({ block: written.block, hotkey: who.miners[0].address, netuid }), written.extrinsicIndex);

      await faucet(chain, who.stranger.address, 5_000_000_000n);
      await registerNeuron(chain, netuid, who.stranger.address);
      await addStake(chain, netuid, who.stranger.address, 7_000_000_000n);
      const changed = await setHyperparameter(chain, netuid, "tempo", 10);
      assert.equal((await chain.hyperparameters(netuid, changed.hash)).tempo, 10);
      const neuron = (await chain.neurons(netuid, changed.hash)).find(({ hotkey }) => hotkey === who.stranger.address);
      assert.deepEqual([neuron?.uid, neuron?.stake], [3, 7_000_000_000n]);
      assert.equal(await chain.subnetOwnerHotkey(netuid, changed.hash), who.owner.address);
      assert.equal(await chain.balance(who.stranger.address, changed.hash), 5_000_000_000n);

      const weighed = await chain.setWeights(who.validator, netuid, [{ uid: 1, weight: 65_535 }], 0n);
      assert.deepEqual((await chain.weights(netuid, weighed.hash)).get(0), [{ uid: 1, weight: 65_535 }]);
      const again = chain.send({
        what: "the registration",
        signer: who.owner,
        call: { pallet: "SubtensorModule", name: "burned_register", args: { netuid, hotkey: who.stranger.address } },
      });
      await assert.rejects(again, { reason: "SubtensorModule.HotKeyAlreadyRegisteredInSubNet" });
      await assert.rejects(setHyperparameter(chain, 7, "tempo", 10), { reason: "AdminUtils.SubnetDoesNotExist" });
    });
  }

  it("is refused by the localnet where something that it has is missing, named, or of another type", () => {
    const without = Buffer.from(mainnet());
    const name = without.indexOf("UsedSpaceOf");
    without.write("UsedSpaceBy", name);
    assert.throws(() => createRuntime(100, new Uint8Array(without)), {
      code: "metadata-unsuitable",
      message: /storage Commitments\.UsedSpaceOf/,
    });
    assert.throws(() => createRuntime(100, Uint8Array.of(1, 2, 3)), { code: "metadata-unsuitable" });
  });
});
