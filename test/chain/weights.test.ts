import assert from "node:assert/strict";
import type { Chain } from "../../src/chain/client.ts";
import { setHyperparameter } from "../../src/chain/development.ts";
import { epochAt, firstBlockOf } from "../../src/chain/epochs.ts";
import type { Localnet } from "../../src/chain/localnet/index.ts";
import { createOpened, finalizedWhere, genesisOf, inStillness, netuid, type People, passTo, people } from "./support.ts";

describe("chain/weights", () => {
  const opened = createOpened();
  let chain: Chain;
  let who: People;

  before(async () => {
    who = await people();
    const net = await opened.localnet({
      genesis: genesisOf(who, { weightsRateLimit: 5000, minimumAllowedWeights: 2, weightsVersionKey: 3 }),
    });
    chain = await opened.chain(net.endpoint);
  });
  after(() => opened.close());

  const some = [
    { uid: 1, weight: 65_535 },
    { uid: 2, weight: 100 },
  ];
  const rows = async (): Promise<Map<number, unknown>> => chain.weights(netuid, (await chain.finalizedHead()).hash);

  it("refuses by itself what the chain would refuse", async () => {
    const set = (weights: typeof some, versionKey = 3n, signer = who.validator) => chain.setWeights(signer, netuid, weights, versionKey);
    await assert.rejects(set(some, 2n), { code: "weights-version-old", message: /version 3, not 2/ });
    await assert.rejects(set(some, 3n, who.miners[0]), { code: "no-validator-permit", retryable: true });
    await assert.rejects(set(some, 3n, who.stranger), { code: "not-registered" });
    const invalid: [typeof some, RegExp][] = [
      [some.slice(0, 1), /fewer than the 2/],
      [[...some, { uid: 1, weight: 5 }], /two weights/],
      [[...some, { uid: 3, weight: 5 }], /no uid 3/],
      [some.map(({ uid }) => ({ uid, weight: 0 })), /all weights are zero/],
      [some.map(({ uid }) => ({ uid, weight: 65_536 })), /65536 is no weight/],
      [some.map(({ uid }) => ({ uid, weight: 0.5 })), /0.5 is no weight/],
    ];
    for (const [weights, message] of invalid) await assert.rejects(set(weights), { code: "weights-invalid", message });
    assert.deepEqual(await rows(), new Map());
  });

  it("sets them, tells that they stand, and when others may follow", async () => {
    const first = await chain.setWeights(who.validator, netuid, some, 3n);
    assert.equal(first.already, false);
    assert.deepEqual(await chain.weights(netuid, first.hash), new Map([[0, some]]));
    assert.deepEqual(await chain.weights(netuid, await chain.blockHash(first.block - 1)), new Map());
    assert.deepEqual(await chain.setWeights(who.validator, netuid, some, 3n), { ...first, already: true });

    const others = some.map(({ uid, weight }) => ({ uid, weight: 65_635 - weight }));
    await assert.rejects(chain.setWeights(who.validator, netuid, others, 3n), {
      code: "weights-rate-limited",
      retryable: true,
      message: new RegExp(`from block ${first.block + 5000} on`),
    });
    // a limit that ends in a moment: no block is waited for whose time depends on how busy this machine is
    const limit = (await chain.bestHead()).number - first.block + 12;
    await setHyperparameter(chain, netuid, "weightsSetRateLimit", BigInt(limit));
    await finalizedWhere(chain, (number) => number >= first.block + limit - 2); // so that the best block is about the last before
    const second = await chain.setWeights(who.validator, netuid, others, 3n);
    assert.ok(second.block >= first.block + limit);
    assert.deepEqual(await rows(), new Map([[0, others]]));
  });

  it("says so where weights are committed and revealed", async () => {
    await setHyperparameter(chain, netuid, "commitRevealWeightsEnabled", true);
    await assert.rejects(chain.setWeights(who.validator, netuid, some, 3n), { code: "commit-reveal-enabled", exit: 31 });
  });
});

describe("chain/weights, by commit and reveal", () => {
  const opened = createOpened();
  const salt = Uint8Array.from({ length: 16 }, (_, index) => 255 - index);
  const sealed = {
    weights: [
      { uid: 1, weight: 65_535 },
      { uid: 2, weight: 100 },
    ],
    versionKey: 0n,
    salt,
  };
  const clock = { netuid, tempo: 9 };
  let net: Localnet;
  let chain: Chain;
  let who: People;

  before(async () => {
    who = await people();
    net = await opened.localnet({
      genesis: genesisOf(who, { tempo: 9, weightsRateLimit: 10, revealPeriodEpochs: 2, commitRevealEnabled: true }),
    });
    chain = await opened.chain(net.endpoint);
  });
  after(() => opened.close());

  const rows = async (): Promise<Map<number, unknown>> => chain.weights(netuid, (await chain.finalizedHead()).hash);

  it("shows nothing before the reveal, which it refuses before its epoch, and does each thing once", async () => {
    const commit = await chain.commitWeights(who.validator, netuid, sealed);
    assert.deepEqual(commit.reveal, { from: firstBlockOf(clock, epochAt(clock, commit.block) + 2), until: commit.reveal.from + 9 });
    const again = await inStillness(net, () => chain.commitWeights(who.validator, netuid, sealed));
    assert.deepEqual([again.block, again.already], [commit.block, true]);
    assert.deepEqual(await rows(), new Map());
    await assert.rejects(
      inStillness(net, () => chain.revealWeights(who.validator, netuid, sealed)),
      {
        code: "weights-reveal-early",
        retryable: true,
        message: new RegExp(`from block ${commit.reveal.from} on`),
      },
    );
    await passTo(net, chain, commit.reveal.from);
    const reveal = await inStillness(net, () => chain.revealWeights(who.validator, netuid, sealed));
    assert.ok(reveal.block >= commit.reveal.from && reveal.block <= commit.reveal.until);
    assert.deepEqual(await rows(), new Map([[0, sealed.weights]]));
    assert.equal((await chain.revealWeights(who.validator, netuid, sealed)).already, true);
  });

  it("refuses what the chain would, before it commits", async () => {
    const commit = (weights: typeof sealed.weights, signer = who.validator) => chain.commitWeights(signer, netuid, { ...sealed, weights });
    await assert.rejects(commit(sealed.weights, who.miners[0]), { code: "no-validator-permit" });
    await assert.rejects(commit([]), { code: "weights-invalid" });
    await chain.commitWeights(who.validator, netuid, { ...sealed, versionKey: 1n });
    await assert.rejects(chain.commitWeights(who.validator, netuid, { ...sealed, versionKey: 2n }), { code: "weights-rate-limited" });
  });

  it("says that a commit is lost whose epoch is over, or that was never made", async () => {
    const other = { ...sealed, salt: new Uint8Array(16) };
    await assert.rejects(chain.revealWeights(who.validator, netuid, { ...other, weights: sealed.weights.slice(0, 1) }), {
      code: "weights-commit-lost",
      retryable: false,
    });
    const { number } = await chain.bestHead();
    await passTo(net, chain, number + 11);
    const late = { ...other, weights: sealed.weights.slice(1) };
    const { reveal } = await chain.commitWeights(who.validator, netuid, late);
    await passTo(net, chain, reveal.until + 1);
    await assert.rejects(chain.revealWeights(who.validator, netuid, late), { code: "weights-commit-lost", message: /up to block/ });
  });

  it("goes back to plain weights when the subnet does", async () => {
    await setHyperparameter(chain, netuid, "commitRevealWeightsEnabled", false);
    await assert.rejects(chain.commitWeights(who.validator, netuid, { ...sealed, versionKey: 7n }), { code: "commit-reveal-disabled" });
  });
});
