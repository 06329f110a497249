import assert from "node:assert/strict";
import { commitmentsStorage } from "../../../../src/chain/localnet/runtime/commitments.ts";
import { createBench, netuid, pairOf, subnetOf } from "../support.ts";

const raw = (length: number, fill = 1) => ({ [`Raw${length}`]: `0x${fill.toString(16).padStart(2, "0").repeat(length)}` });

describe("Commitments", () => {
  it("keeps one value a hotkey and subnet with the block it was set at, and says so in an event", async () => {
    const { genesis, miner } = await subnetOf();
    const bench = await createBench(genesis);
    assert.equal(bench.send(miner, "commitments.setCommitment", netuid, { fields: [raw(3)] }), "ok");
    const first = bench.chain.best();
    assert.ok(
      bench.events(first).some(({ name, data }) => name === "Commitments.Commitment" && data[0] === netuid && data[1] === miner.address),
    );
    assert.equal(bench.send(miner, "commitments.setCommitment", netuid, { fields: [raw(5, 9)] }), "ok");
    const read = (block = bench.chain.best()) =>
      bench.chain.ledgerAt(block).get(commitmentsStorage.CommitmentOf, netuid, bench.account(miner));
    assert.deepEqual(read(), { deposit: 0n, block: 2, info: { fields: [{ type: "Raw5", value: "0x0909090909" }] } });
    assert.deepEqual(read(first)?.info.fields, [{ type: "Raw3", value: "0x010101" }]);
  });

  it("costs nothing, even for an account that has nothing", async () => {
    const { genesis, miner } = await subnetOf();
    const bench = await createBench(genesis);
    assert.equal(bench.send(miner, "commitments.setCommitment", netuid, { fields: [raw(128)] }), "ok");
  });

  it("refuses a hotkey that is not registered on the subnet", async () => {
    const { genesis } = await subnetOf();
    const bench = await createBench(genesis);
    const stranger = await pairOf("//Stranger");
    assert.equal(bench.send(stranger, "commitments.setCommitment", netuid, { fields: [raw(1)] }), "AccountNotAllowedCommit");
  });

  it("allows 3,100 bytes an epoch, each call counting at least 100, and is free again at the next", async () => {
    const { genesis, miner } = await subnetOf({ tempo: 40 });
    const bench = await createBench(genesis);
    // The epoch's first block: (block + netuid + 1) divides by tempo + 1.
    bench.produceTo(32);
    for (let call = 0; call < 31; call++) {
      assert.equal(bench.send(miner, "commitments.setCommitment", netuid, { fields: [raw(10)] }), "ok", `call ${call}`);
    }
    assert.equal(bench.send(miner, "commitments.setCommitment", netuid, { fields: [raw(10)] }), "SpaceLimitExceeded");
    bench.produceTo(73);
    assert.equal(bench.send(miner, "commitments.setCommitment", netuid, { fields: [raw(10)] }), "ok");
  });

  it("counts all fields' bytes when they are more than 100", async () => {
    const { genesis, miner } = await subnetOf({ tempo: 40 });
    const bench = await createBench(genesis);
    bench.produceTo(32);
    const big = { fields: [{ BigRaw: `0x${"07".repeat(512)}` }, raw(128), raw(128)] };
    for (let call = 0; call < 4; call++) {
      assert.equal(bench.send(miner, "commitments.setCommitment", netuid, big), "ok");
    }
    // 4 x 768 = 3,072: even the least call is too much now.
    assert.equal(bench.send(miner, "commitments.setCommitment", netuid, { fields: [] }), "SpaceLimitExceeded");
  });

  it("says of a time-locked field when it opens, and counts its ciphertext", async () => {
    const { genesis, miner } = await subnetOf();
    const bench = await createBench(genesis);
    const locked = { TimelockEncrypted: { encrypted: `0x${"09".repeat(1000)}`, revealRound: 12 } };
    assert.equal(bench.send(miner, "commitments.setCommitment", netuid, { fields: [locked] }), "ok");
    const names = bench.events(bench.chain.best()).map(({ name }) => name);
    assert.ok(names.includes("Commitments.TimelockCommitment") && !names.includes("Commitments.Commitment"));
    const ledger = bench.chain.ledgerAt(bench.chain.best());
    assert.equal(ledger.get(commitmentsStorage.UsedSpaceOf, netuid, bench.account(miner))?.usedSpace, 1000n);
  });

  for (const [what, fields] of [
    ["four fields", [raw(1), raw(1), raw(1), raw(1)]],
    ["a BigRaw of 513 bytes", [{ BigRaw: `0x${"07".repeat(513)}` }]],
  ] as const) {
    it(`traps on ${what}, as the chain does: RPC error 1011, and nothing in a block`, async () => {
      const { genesis, miner } = await subnetOf();
      const bench = await createBench(genesis);
      assert.match(bench.send(miner, "commitments.setCommitment", netuid, { fields }), /^1011: /);
      assert.equal(bench.produce().extrinsics.length, 1);
    });
  }
});
