/** Epochs where the runtime counts them, as Subtensor's newer ones do: the localnet's, like mainnet's of version 393, goes by arithmetic. */
import assert from "node:assert/strict";
import { commitWeights, revealWeights, weightsHash } from "../../src/chain/commit-weights.ts";
import { readSpace } from "../../src/chain/commitments.ts";
import { countedEpochs, readEpochs } from "../../src/chain/epochs.ts";
import type { ChainParts } from "../../src/chain/set-commitment.ts";
import { developmentSigner } from "../../src/chain/signer.ts";
import type { State, StorageName } from "../../src/chain/state.ts";
import type { Transaction } from "../../src/chain/transactions.ts";
import { ConnitoError } from "../../src/errors.ts";

const netuid = 7;
const at = { block: 10_050, tempo: 100, index: 40, last: 10_020, pending: 0 };
const counts = { Tempo: 100, SubnetEpochIndex: 40n, LastEpochBlock: 10_020n, PendingEpochAt: 0n };

/** The state of one block, by storage items' names. */
function stateOf(number: number, items: Readonly<Record<string, unknown>>, graph?: unknown): State {
  return {
    number,
    codecs: { hasStorage: (_pallet: string, item: string) => item in items },
    values: async (...names: StorageName[]) => names.map(([, item]) => items[item]),
    call: async () => graph,
  } as unknown as State;
}

describe("chain/epochs", () => {
  it("follow the chain's count, and are planned from its last epoch on", () => {
    const epochs = countedEpochs(at);
    assert.deepEqual(
      [9_919, 9_920, 10_019, 10_020, 10_119, 10_120, 10_219, 10_220].map((block) => epochs.at(block)),
      [38, 39, 39, 40, 40, 41, 41, 42],
    );
    assert.deepEqual(
      [39, 40, 41, 42].map((epoch) => epochs.firstBlockOf(epoch)),
      [9_920, 10_020, 10_120, 10_220],
    );
  });

  it("come earlier where the owner put one, later where one is put off, and never without a tempo", () => {
    assert.equal(countedEpochs({ ...at, pending: 10_060 }).firstBlockOf(41), 10_060);
    assert.equal(countedEpochs({ ...at, pending: 10_060 }).firstBlockOf(42), 10_160);
    assert.equal(countedEpochs({ ...at, block: 10_125 }).firstBlockOf(41), 10_126);
    assert.equal(countedEpochs({ ...at, tempo: 0 }).at(1e9), 40);
  });

  it("are read in the way that the chain has", async () => {
    const counted = await readEpochs(stateOf(at.block, counts), netuid);
    assert.deepEqual([counted.counted, counted.at(10_120)], [true, 41]);
    const reckoned = await readEpochs(stateOf(at.block, { Tempo: 100 }), netuid);
    assert.deepEqual([reckoned.counted, reckoned.at(10_092), reckoned.firstBlockOf(100)], [false, 100, 10_092]);
  });

  it("say when space for commitments is free again", async () => {
    const space = (used: bigint) => ({ ...counts, UsedSpaceOf: { last_epoch: used, used_space: 3_000n }, MaxSpace: 3_100 });
    assert.deepEqual(await readSpace(stateOf(at.block, space(40n)), netuid, "5"), { used: 3_000, limit: 3_100, nextEpoch: 10_120 });
    assert.deepEqual(await readSpace(stateOf(10_119, space(40n)), netuid, "5"), { used: 0, limit: 3_100, nextEpoch: 10_220 });
  });

  describe("of a weights commit, which such a chain keeps by its epoch", () => {
    const sealed = { weights: [{ uid: 1, weight: 65_535 }], versionKey: 0n, salt: new Uint8Array(16) };

    /** A chain that stands at a block of an epoch and has the commit, of epoch 40 and block 10,050. */
    async function chainAt(number: number, count: Partial<typeof counts> = {}) {
      const signer = await developmentSigner("//Bob");
      const commit = [await weightsHash(signer.address, netuid, sealed), 40n, 10_050n, 0n];
      const items = { ...counts, ...count, WeightCommits: [commit], StakeThreshold: 0n, Weights: [] };
      const graph = {
        owner_hotkey: "",
        tempo: 100,
        min_allowed_weights: 1,
        max_weights_limit: 65_535,
        weights_version: 0n,
        weights_rate_limit: 0n,
        commit_reveal_weights_enabled: true,
        commit_reveal_period: 2n,
        hotkeys: [signer.address, "5"],
        coldkeys: [],
        axons: [],
        validator_permit: [true, false],
        last_update: [],
        block_at_registration: [],
        total_stake: [],
      };
      const parts = {
        link: {
          call: async (method: string, [block = number]: readonly unknown[]) =>
            method === "chain_getHeader" ? { number: `0x${number.toString(16)}` } : `hash of ${block}`,
        },
        stateAt: async (hash: string) => {
          if (hash === "hash of 10050") throw new ConnitoError("gone", { code: "state-pruned", exit: "network", hint: "-" });
          return stateOf(number, items, graph);
        },
        tracker: { now: async () => ({ best: number, finalized: number }) },
        sender: { send: async ({ done }: Transaction) => (await done?.()) ?? { block: -1 } },
      } as unknown as ChainParts;
      return { parts, signer };
    }

    it("finds it where it stands, and its window by the count, though the state of its block is gone", async () => {
      const { parts, signer } = await chainAt(10_060);
      const { block, already, reveal } = await commitWeights(parts, signer, netuid, sealed);
      assert.deepEqual([block, already, reveal], [10_050, true, { from: 10_220, until: 10_319 }]);
    });

    it("reveals it in its epoch, neither before nor after", async () => {
      const reveal = async (number: number, count?: Partial<typeof counts>) => {
        const { parts, signer } = await chainAt(number, count);
        return revealWeights(parts, signer, netuid, sealed);
      };
      await assert.rejects(reveal(10_060), { code: "weights-reveal-early", message: /from block 10220 on/ });
      // the owner's trigger brought an epoch forward: its number decides, not the block
      const early = { SubnetEpochIndex: 42n, LastEpochBlock: 10_130n };
      assert.deepEqual(await reveal(10_140, early), { block: -1 });
      await assert.rejects(reveal(10_240, { SubnetEpochIndex: 43n, LastEpochBlock: 10_230n }), { code: "weights-commit-lost" });
    });
  });
});
