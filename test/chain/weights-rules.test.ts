import assert from "node:assert/strict";
import { allowedFrom, checkWeights, type Standing } from "../../src/chain/weights-rules.ts";

const standing = {
  netuid: 1,
  subnet: {
    ownerHotkey: "5Owner",
    hyperparameters: { minimumAllowedWeights: 1, maximumWeight: 65_535, weightsVersionKey: 0n, weightsRateLimit: 100 },
    neurons: [{}, {}, {}],
  },
  neuron: { hotkey: "5Validator", uid: 0, stake: 1000n, validatorPermit: true, lastUpdate: 0 },
  stakeThreshold: 1000n,
  row: [],
} as unknown as Standing;
const two = [
  { uid: 1, weight: 3 },
  { uid: 2, weight: 1 },
];

describe("chain/weights-rules", () => {
  it("ask for the chain's stake, of all but the subnet's owner", () => {
    const poor = { ...standing, neuron: { ...standing.neuron, stake: 999n } };
    checkWeights(two, 0n, standing);
    assert.throws(() => checkWeights(two, 0n, poor), { code: "stake-too-low", exit: 31, retryable: true });
    checkWeights(two, 0n, { ...poor, neuron: { ...poor.neuron, hotkey: "5Owner" } });
  });

  it("keep a weight below the subnet's largest share, but for one on oneself alone", () => {
    const limited = (share: number): Standing => ({
      ...standing,
      subnet: { ...standing.subnet, hyperparameters: { ...standing.subnet.hyperparameters, maximumWeight: Math.round(share * 65_535) } },
    });
    checkWeights(two, 0n, limited(0.76));
    assert.throws(() => checkWeights(two, 0n, limited(0.74)), {
      code: "weights-invalid",
      message: /uid 1 would have 75\.0% of the weight, and the subnet allows 74\.0%/,
    });
    checkWeights([{ uid: 0, weight: 1 }], 0n, limited(0.5));
  });

  it("allow the first weights at once, and others after the rate limit", () => {
    assert.equal(allowedFrom(standing), 0);
    assert.equal(allowedFrom({ ...standing, neuron: { ...standing.neuron, lastUpdate: 500 } }), 600);
  });
});
