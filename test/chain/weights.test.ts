import assert from "node:assert/strict";
import type { Chain } from "../../src/chain/client.ts";
import { setHyperparameter } from "../../src/chain/development.ts";
import { createOpened, finalizedWhere, genesisOf, netuid, type People, people } from "./support.ts";

describe("chain/weights", () => {
  const opened = createOpened();
  let chain: Chain;
  let who: People;

  before(async () => {
    who = await people();
    const net = await opened.localnet({
      genesis: genesisOf(who, { weightsRateLimit: 12, minimumAllowedWeights: 2, weightsVersionKey: 3 }),
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
    const set = (weights: typeof some, versionKey = 3, signer = who.validator) => chain.setWeights(signer, netuid, weights, versionKey);
    await assert.rejects(set(some, 2), { code: "weights-version-old", message: /version 3, not 2/ });
    await assert.rejects(set(some, 3, who.miners[0]), { code: "no-validator-permit", retryable: true });
    await assert.rejects(set(some, 3, who.stranger), { code: "not-registered" });
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
    const first = await chain.setWeights(who.validator, netuid, some, 3);
    assert.equal(first.already, false);
    assert.deepEqual(await chain.weights(netuid, first.hash), new Map([[0, some]]));
    assert.deepEqual(await chain.weights(netuid, await chain.blockHash(first.block - 1)), new Map());
    assert.deepEqual(await chain.setWeights(who.validator, netuid, some, 3), { ...first, already: true });

    const others = some.map(({ uid, weight }) => ({ uid, weight: 65_635 - weight }));
    await assert.rejects(chain.setWeights(who.validator, netuid, others, 3), {
      code: "weights-rate-limited",
      retryable: true,
      message: new RegExp(`from block ${first.block + 12} on`),
    });
    await finalizedWhere(chain, (number) => number >= first.block + 10); // so that the best block is the last before
    const second = await chain.setWeights(who.validator, netuid, others, 3);
    assert.ok(second.block >= first.block + 12);
    assert.deepEqual(await rows(), new Map([[0, others]]));
  });

  it("says what is missing where weights are committed and revealed", async () => {
    await setHyperparameter(chain, netuid, "commitRevealWeightsEnabled", true);
    await assert.rejects(chain.setWeights(who.validator, netuid, some, 3), { code: "commit-reveal-enabled", exit: 31 });
  });
});
