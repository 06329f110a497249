import assert from "node:assert/strict";
import type { Chain, ChainCommitment } from "../../src/chain/client.ts";
import { epochAt, firstBlockOf } from "../../src/chain/epochs.ts";
import type { Localnet } from "../../src/chain/localnet/index.ts";
import { ExtrinsicRejected } from "../../src/chain/refusals.ts";
import type { Signer } from "../../src/chain/signer.ts";
import { createOpened, finalizedWhere, genesisOf, netuid, type People, people } from "./support.ts";

const bytes = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill);

describe("chain/commitments", () => {
  const opened = createOpened();
  let net: Localnet;
  let chain: Chain;
  let who: People;

  before(async () => {
    who = await people();
    net = await opened.localnet();
    chain = await opened.chain(net.endpoint);
  });
  after(() => opened.close());

  async function fieldsOf(hotkey: string, at: string): Promise<ChainCommitment | undefined> {
    return (await chain.commitments(netuid, at)).find((commitment) => commitment.hotkey === hotkey);
  }

  it("keeps each record readable at the blocks in which it stood", async () => {
    const [miner] = who.miners;
    const before = await chain.finalizedHead();
    const first = await chain.setCommitment(miner, netuid, bytes(40, 1));
    const second = await chain.setCommitment(miner, netuid, bytes(128, 2));
    assert.equal(first.already, false);
    assert.ok(second.block > first.block);
    assert.equal(await fieldsOf(miner.address, before.hash), undefined);
    assert.deepEqual(await fieldsOf(miner.address, first.hash), { hotkey: miner.address, block: first.block, fields: [bytes(40, 1)] });
    assert.deepEqual(await fieldsOf(miner.address, await chain.blockHash(second.block - 1)), {
      hotkey: miner.address,
      block: first.block,
      fields: [bytes(40, 1)],
    });
    assert.deepEqual(await fieldsOf(miner.address, second.hash), { hotkey: miner.address, block: second.block, fields: [bytes(128, 2)] });
    assert.equal(await chain.extrinsicIndex({ block: first.block, hotkey: miner.address, netuid }), first.extrinsicIndex);
    assert.equal(await chain.extrinsicIndex({ block: first.block, hotkey: who.validator.address, netuid }), undefined);
    assert.equal(await chain.extrinsicIndex({ block: first.block, hotkey: miner.address, netuid: 2 }), undefined);
  });

  it("does nothing where the record stands already", async () => {
    const [, miner] = who.miners;
    const first = await chain.setCommitment(miner, netuid, bytes(10, 3));
    assert.deepEqual(await chain.setCommitment(miner, netuid, bytes(10, 3)), { ...first, already: true });
    const late = chain.setCommitment(miner, netuid, bytes(10, 3), { until: first.block - 1 });
    await assert.rejects(late, { code: "deadline-missed" }, "a record that stands since after its window is not a success");
  });

  it("lets two hotkeys commit at once, and one hotkey send twice at once", async () => {
    const results = await Promise.all([
      chain.setCommitment(who.validator, netuid, bytes(33, 4)),
      chain.setCommitment(who.miners[0], netuid, bytes(33, 5)),
      chain.setCommitment(who.miners[1], netuid, bytes(33, 6)),
      chain.setCommitment(who.miners[1], netuid, bytes(33, 7)),
    ]);
    const { hash } = await finalizedWhere(chain, (number) => number >= Math.max(...results.map(({ block }) => block)));
    const standing = await chain.commitments(netuid, hash);
    const of = (address: string): Uint8Array | undefined => standing.find(({ hotkey }) => hotkey === address)?.fields[0];
    assert.deepEqual(of(who.validator.address), bytes(33, 4));
    assert.deepEqual(of(who.miners[0].address), bytes(33, 5));
    assert.deepEqual(of(who.miners[1].address), bytes(33, 7), "the second in the queue is the one that stands");
    const places = results.map(({ block, extrinsicIndex }) => `${block}/${extrinsicIndex}`);
    assert.equal(new Set(places).size, 4);
    assert.deepEqual(
      [...standing].map(({ hotkey }) => hotkey),
      [...standing].map(({ hotkey }) => hotkey).sort(),
    );
  });

  it("takes records of every length that fits, and refuses longer ones before the runtime can trap", async () => {
    for (const length of [0, 1, 127]) {
      const { hash } = await chain.setCommitment(who.validator, netuid, bytes(length, 9));
      assert.deepEqual((await fieldsOf(who.validator.address, hash))?.fields, [bytes(length, 9)]);
    }
    await assert.rejects(chain.setCommitment(who.validator, netuid, bytes(129, 9)), { code: "record-oversize", exit: 13 });
  });

  it("refuses a hotkey that is not registered, before it sends", async () => {
    await assert.rejects(chain.setCommitment(who.stranger, netuid, bytes(4, 1)), { code: "not-registered", exit: 31 });
  });

  it("leaves out fields that are no raw bytes", async () => {
    const hash32 = `0x${"ab".repeat(32)}`;
    const info = Object.entries({ Sha256: hash32, Raw3: "0x010203", BlakeTwo256: hash32 }).map(([type, value]) => ({ type, value }));
    const { hash } = await chain.send({
      what: "the record",
      signer: who.validator,
      call: { pallet: "Commitments", name: "set_commitment", args: { netuid, info } },
    });
    assert.deepEqual((await fieldsOf(who.validator.address, hash))?.fields, [Uint8Array.of(1, 2, 3)]);
  });

  it("after downtime reads what stood at the end of a window though it was overwritten, and says which block it could not read", async () => {
    const [miner] = who.miners;
    const proxy = await opened.proxy(net.endpoint);
    const away = await opened.chain(proxy.endpoint);
    const { block } = await chain.setCommitment(miner, netuid, bytes(20, 80));
    await chain.setCommitment(miner, netuid, bytes(20, 81)); // after the window
    proxy.cut();
    const end = await away.blockHash(block);
    assert.deepEqual((await away.commitments(netuid, end)).find(({ hotkey }) => hotkey === miner.address)?.fields, [bytes(20, 80)]);

    const pruned = await away.blockHash(block - 1);
    proxy.answerFor = ({ method, params }) =>
      method === "state_getKeysPaged" && params?.at(-1) === pruned
        ? { error: { code: 4003, message: `Client error: Api called for an unknown Block: State already discarded for ${pruned}` } }
        : undefined;
    await assert.rejects(away.commitments(netuid, pruned), {
      code: "state-pruned",
      message: new RegExp(`block ${block - 1}\\b`),
      hint: /archive/,
    });
  });

  it("says which block it could not read where a node has dropped its state, and reads no other", async () => {
    const pruning = await opened.localnet({ pruning: 4 });
    const client = await opened.chain(pruning.endpoint);
    const { block } = await client.setCommitment(who.validator, netuid, bytes(20, 82));
    await finalizedWhere(client, (number) => number > block + 8);
    const reading = client.commitments(netuid, await client.blockHash(block));
    await assert.rejects(reading, { code: "state-pruned", exit: 30, message: new RegExp(`block ${block}\\b`), hint: /archive/ });
  });

  describe("the space that an epoch allows", () => {
    const clock = { netuid, tempo: 40 };
    let roomy: Chain;
    before(async () => {
      const own = await opened.localnet({ genesis: genesisOf(who, { tempo: clock.tempo }) });
      roomy = await opened.chain(own.endpoint);
    });

    /** A call that writes three fields of 512 bytes, 1,536 of the 3,100. */
    const large = {
      pallet: "Commitments",
      name: "set_commitment",
      args: { netuid, info: [1, 2, 3].map((fill) => ({ type: "BigRaw", value: bytes(512, fill) })) },
    };

    /** Writes 3,072 bytes within one epoch; gives the first block of the next. */
    async function fill(signer: Signer): Promise<number> {
      for (;;) {
        const sent = await Promise.all([1, 2].map(() => roomy.send({ what: "it", signer, call: large })));
        const [first = 0, second] = sent.map(({ block }) => epochAt(clock, block));
        const next = firstBlockOf(clock, first + 1);
        if (first === second) return next;
        await finalizedWhere(roomy, (later) => later > next + clock.tempo); // an epoch's end divided them
      }
    }

    it("is waited for when the window reaches the next epoch, and reported with its block when not", async () => {
      const [, miner] = who.miners;
      const next = await fill(miner);
      await assert.rejects(roomy.setCommitment(miner, netuid, bytes(9, 60)), {
        code: "space-limit-exceeded",
        exit: 31,
        retryable: true,
        message: new RegExp(`3072 of the 3100 bytes .* from block ${next} on`),
      });
      await assert.rejects(roomy.setCommitment(miner, netuid, bytes(9, 60), { until: next - 1 }), { code: "space-limit-exceeded" });
      const { block } = await roomy.setCommitment(miner, netuid, bytes(9, 60), { until: next + 30 });
      assert.ok(block >= next, `block ${block} is before ${next}`);
    });

    it("is named when only the runtime knows", async () => {
      const signer = who.miners[0];
      await fill(signer);
      await assert.rejects(roomy.send({ what: "it", signer, call: large }), (failure) => {
        assert.ok(failure instanceof ExtrinsicRejected);
        assert.equal(failure.reason, "Commitments.SpaceLimitExceeded");
        assert.equal(failure.retryable, true);
        assert.match(failure.hint, /next/);
        return true;
      });
    });
  });

  describe("with a first useful block", () => {
    it("does not take one that stands from before for it", async () => {
      const early = await chain.setCommitment(who.validator, netuid, bytes(5, 70));
      const from = early.block + 4;
      await finalizedWhere(chain, (number) => number >= from);
      const late = await chain.setCommitment(who.validator, netuid, bytes(5, 70), { from });
      assert.ok(late.block >= from && !late.already);
      assert.deepEqual(await chain.setCommitment(who.validator, netuid, bytes(5, 70), { from }), { ...late, already: true });
    });

    it("sends it again when the first came too early", async () => {
      const from = (await chain.bestHead()).number + 6;
      const { block } = await chain.setCommitment(who.validator, netuid, bytes(5, 71), { from });
      assert.ok(block >= from, `block ${block} is before ${from}`);
    });
  });

  describe("with a last useful block", () => {
    it("is done when that block is still to come", async () => {
      const { number } = await chain.bestHead();
      const inclusion = await chain.setCommitment(who.validator, netuid, bytes(5, 50), { until: number + 20 });
      assert.ok(inclusion.block <= number + 20);
    });

    it("sends nothing when it has passed", async () => {
      const { number } = await chain.bestHead();
      await assert.rejects(chain.setCommitment(who.validator, netuid, bytes(5, 51), { until: number }), {
        code: "deadline-missed",
        exit: 21,
      });
      const { hash } = await finalizedWhere(chain, (later) => later > number + 3);
      assert.notDeepEqual((await fieldsOf(who.validator.address, hash))?.fields, [bytes(5, 51)]);
    });

    it("gives up when it passes while nothing reaches the chain", async () => {
      const proxy = await opened.proxy(net.endpoint);
      const muted = await opened.chain(proxy.endpoint);
      proxy.onRequest = ({ method }) => method !== "author_submitAndWatchExtrinsic" || proxy.cut() !== undefined;
      const { number } = await muted.bestHead();
      await assert.rejects(muted.setCommitment(who.validator, netuid, bytes(5, 52), { until: number + 5 }), { code: "deadline-missed" });
    });
  });
});
