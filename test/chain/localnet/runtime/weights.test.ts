import assert from "node:assert/strict";
import { TypeRegistry } from "@polkadot/types";
import { blake2AsHex } from "@polkadot/util-crypto";
import { subtensorStorage as items } from "../../../../src/chain/localnet/runtime/subtensor/storage.ts";
import { upscale } from "../../../../src/chain/localnet/runtime/subtensor/weights.ts";
import { createBench, netuid, pairOf, subnetOf } from "../support.ts";

const set = "subtensorModule.setWeights";
const commit = "subtensorModule.commitWeights";
const reveal = "subtensorModule.revealWeights";

/** The hash that a client computes, by polkadot.js' own codecs. */
function commitHash(account: string, uids: number[], values: number[], salt: number[], versionKey: number): string {
  const registry = new TypeRegistry();
  return blake2AsHex(
    registry.createType("(AccountId, u16, Vec<u16>, Vec<u16>, Vec<u16>, u64)", [account, netuid, uids, values, salt, versionKey]).toU8a(),
  );
}

describe("weights", () => {
  it("are kept scaled so that the largest is 65,535, and count as the neuron's last update", async () => {
    const { genesis, first } = await subnetOf();
    const bench = await createBench(genesis);
    assert.equal(bench.send(first, set, netuid, [1, 2], [100, 200], 0), "ok");
    const ledger = bench.chain.ledgerAt(bench.chain.best());
    assert.deepEqual(ledger.get(items.Weights, netuid, 0), [
      [1, 32_768],
      [2, 65_535],
    ]);
    assert.deepEqual(ledger.get(items.LastUpdate, netuid), [1n, 0n, 0n]);
    assert.ok(bench.events(bench.chain.best()).some(({ name, data }) => name === "SubtensorModule.WeightsSet" && data[1] === 0));
  });

  it("scale as the chain's fixed-point numbers do", () => {
    assert.deepEqual(upscale([]), []);
    assert.deepEqual(upscale([0, 0]), [0, 0]);
    assert.deepEqual(upscale([65_535, 7]), [65_535, 7]);
    assert.deepEqual(upscale([1, 3]), [21_845, 65_535]);
    // Above 32,768 the factor is cut off to 32 bits first: 25,000 of 50,000 is a hair below one half, and does not round up.
    assert.deepEqual(upscale([25_000, 50_000]), [32_767, 65_535]);
    assert.deepEqual(upscale([250, 500]), [32_768, 65_535]);
  });

  it("may be set again only when the rate limit has passed", async () => {
    const { genesis, first } = await subnetOf({ weightsRateLimit: 5 });
    const bench = await createBench(genesis);
    assert.equal(bench.send(first, set, netuid, [1], [1], 0), "ok");
    bench.produceTo(4);
    assert.equal(bench.send(first, set, netuid, [1], [1], 0), "SettingWeightsTooFast");
    assert.equal(bench.send(first, set, netuid, [1], [1], 0), "ok");
  });

  const refusals: [string, Parameters<typeof subnetOf>[0], unknown[], string][] = [
    ["lists of two lengths", {}, [netuid, [1, 2], [1], 0], "WeightVecNotEqualSize"],
    ["the root subnet", {}, [0, [1], [1], 0], "CommitRevealEnabled"],
    ["a subnet that is not there", {}, [9, [1], [1], 0], "CommitRevealEnabled"],
    ["more uids than neurons", {}, [netuid, [0, 1, 2, 3], [1, 1, 1, 1], 0], "UidsLengthExceedUidsInSubNet"],
    ["an old version key", { weightsVersionKey: 3 }, [netuid, [1], [1], 2], "IncorrectWeightVersionKey"],
    ["a uid given twice", {}, [netuid, [1, 1], [1, 1], 0], "DuplicateUids"],
    ["a uid that nobody has", {}, [netuid, [1, 3], [1, 1], 0], "UidVecContainInvalidOne"],
    ["too few", { minimumAllowedWeights: 2 }, [netuid, [1], [1], 0], "WeightVecLengthIsLow"],
    ["plain weights where commit and reveal is on", { commitRevealEnabled: true }, [netuid, [1], [1], 0], "CommitRevealEnabled"],
  ];
  for (const [what, hyperparameters, args, error] of refusals) {
    it(`are refused: ${what}`, async () => {
      const { genesis, first } = await subnetOf(hyperparameters);
      const bench = await createBench(genesis);
      assert.equal(bench.send(first, set, ...args), error);
      assert.deepEqual(bench.chain.ledgerAt(bench.chain.best()).get(items.Weights, netuid, 0), []);
    });
  }

  it("are refused from a neuron without permit, but for its weight on itself; and from a stranger", async () => {
    const { genesis, miner } = await subnetOf();
    const bench = await createBench(genesis);
    assert.equal(bench.send(miner, set, netuid, [1], [1], 0), "NeuronNoValidatorPermit");
    assert.equal(bench.send(miner, set, netuid, [2], [1], 0), "ok");
    assert.equal(bench.send(await pairOf("//Stranger"), set, netuid, [1], [1], 0), "HotKeyNotRegisteredInSubNet");
  });

  it("are kept out of the pool below the stake threshold, with Subtensor's code", async () => {
    const { genesis, alice, miner } = await subnetOf();
    const bench = await createBench(genesis);
    assert.equal(bench.send(alice, "sudo.sudo", bench.call("adminUtils.sudoSetStakeThreshold", 1000)), "ok");
    assert.equal(bench.send(miner, set, netuid, [2], [1], 0), "1010: Custom error: 1");
  });

  it("are taken for the subnet's one mechanism by its own calls, and for no other", async () => {
    const { genesis, first } = await subnetOf();
    const bench = await createBench(genesis);
    assert.equal(bench.send(first, "subtensorModule.setMechanismWeights", netuid, 1, [1], [1], 0), "MechanismDoesNotExist");
    assert.equal(bench.send(first, "subtensorModule.setMechanismWeights", netuid, 0, [1], [1], 0), "ok");
    assert.deepEqual(bench.chain.ledgerAt(bench.chain.best()).get(items.Weights, netuid, 0), [[1, 65_535]]);
  });

  describe("by commit and reveal", () => {
    const salt = [1, 2, 3];
    const hyperparameters = { commitRevealEnabled: true, tempo: 10, weightsRateLimit: 1 };
    // Epochs of 11 blocks; (block + 8) / 11: the epoch after that of block 1 is blocks 3 to 13, the next 14 to 24.

    it("are set when what is revealed in the next epoch hashes to what was committed", async () => {
      const { genesis, first } = await subnetOf(hyperparameters);
      const bench = await createBench(genesis);
      bench.produceTo(3);
      assert.equal(bench.send(first, commit, netuid, commitHash(first.address, [1, 2], [3, 4], salt, 0)), "ok");
      assert.deepEqual(
        bench.chain
          .ledgerAt(bench.chain.best())
          .get(items.WeightCommits, netuid, bench.account(first))
          ?.map((entry) => entry.slice(1)),
        [[4n, 14n, 24n]],
      );
      assert.equal(bench.send(first, reveal, netuid, [1, 2], [3, 4], salt, 0), "1010: Custom error: 17");
      bench.produceTo(13);
      assert.equal(bench.send(first, reveal, netuid, [1, 2], [3, 5], salt, 0), "1010: Custom error: 16");
      assert.equal(bench.send(first, reveal, netuid, [1, 2], [3, 4], salt, 0), "ok");
      const ledger = bench.chain.ledgerAt(bench.chain.best());
      assert.deepEqual(ledger.get(items.Weights, netuid, 0), [
        [1, 49_151],
        [2, 65_535],
      ]);
      assert.equal(ledger.get(items.WeightCommits, netuid, bench.account(first)), undefined);
    });

    it("expire with the epoch after", async () => {
      const { genesis, first } = await subnetOf(hyperparameters);
      const bench = await createBench(genesis);
      bench.produceTo(3);
      assert.equal(bench.send(first, commit, netuid, commitHash(first.address, [1], [1], salt, 0)), "ok");
      bench.produceTo(24);
      assert.equal(bench.send(first, reveal, netuid, [1], [1], salt, 0), "1010: Custom error: 17");
    });

    it("are refused where it is off, too soon after another, and past ten open commits", async () => {
      const plain = await subnetOf();
      const off = await createBench(plain.genesis);
      assert.equal(off.send(plain.first, commit, netuid, `0x${"11".repeat(32)}`), "CommitRevealDisabled");
      const { genesis, first } = await subnetOf({ ...hyperparameters, weightsRateLimit: 3, tempo: 100 });
      const bench = await createBench(genesis);
      assert.equal(bench.send(first, commit, netuid, `0x${"11".repeat(32)}`), "ok");
      assert.equal(bench.send(first, commit, netuid, `0x${"12".repeat(32)}`), "CommittingWeightsTooFast");
      for (let count = 1; count < 10; count++) {
        bench.produce(2);
        assert.equal(bench.send(first, commit, netuid, `0x${"13".repeat(32)}`), "ok", `commit ${count}`);
      }
      bench.produce(3);
      assert.equal(bench.send(first, commit, netuid, `0x${"14".repeat(32)}`), "TooManyUnrevealedCommits");
    });
  });

  describe("under a time lock", () => {
    const timelocked = "subtensorModule.commitTimelockedWeights";
    const locked = `0x${"5a".repeat(300)}`;

    it("are taken with the chain's own version, named by their hash, and count as the last update", async () => {
      const { genesis, first } = await subnetOf({ commitRevealEnabled: true, tempo: 10, weightsRateLimit: 3 });
      const bench = await createBench(genesis);
      assert.equal(bench.send(first, timelocked, netuid, locked, 77, 3), "IncorrectCommitRevealVersion");
      assert.equal(bench.send(first, timelocked, netuid, locked, 77, 4), "ok");
      const block = bench.chain.best();
      const committed = bench.events(block).find(({ name }) => name === "SubtensorModule.TimelockedWeightsCommitted");
      assert.deepEqual(committed?.data, [first.address, netuid, blake2AsHex(locked), 77]);
      const ledger = bench.chain.ledgerAt(block);
      assert.deepEqual(ledger.get(items.TimelockedWeightCommits, netuid, 0n), [[bench.account(first), 2n, locked, 77n]]);
      assert.equal(ledger.get(items.LastUpdate, netuid)[0], 2n);
      assert.equal(bench.send(first, timelocked, netuid, locked, 77, 4), "CommittingWeightsTooFast");
    });

    it("are dropped when the reveal period has passed, since no beacon reaches the localnet", async () => {
      const { genesis, first } = await subnetOf({ commitRevealEnabled: true, tempo: 10 });
      const bench = await createBench(genesis);
      assert.equal(bench.send(first, timelocked, netuid, locked, 77, 4), "ok");
      const kept = () => bench.chain.ledgerAt(bench.chain.best()).get(items.TimelockedWeightCommits, netuid, 0n).length;
      // The commit's epoch ends with block 2, the one it could be revealed in with block 13.
      bench.produceTo(13);
      assert.equal(kept(), 1);
      bench.produceTo(24);
      assert.equal(kept(), 0);
    });

    it("are refused where commit and reveal is off, and trap the runtime above 5,000 bytes", async () => {
      const { genesis, first } = await subnetOf();
      const bench = await createBench(genesis);
      assert.equal(bench.send(first, timelocked, netuid, locked, 77, 4), "CommitRevealDisabled");
      assert.match(bench.send(first, timelocked, netuid, `0x${"00".repeat(5001)}`, 77, 4), /^1011: /);
    });

    it("wait from one to 100 epochs, as the owner says", async () => {
      const { genesis, alice } = await subnetOf();
      const bench = await createBench(genesis);
      const set = "adminUtils.sudoSetCommitRevealWeightsInterval";
      assert.equal(bench.send(alice, set, netuid, 101), "RevealPeriodTooLarge");
      assert.equal(bench.send(alice, set, netuid, 0), "RevealPeriodTooSmall");
      assert.equal(bench.send(alice, set, netuid, 100), "ok");
    });
  });
});
