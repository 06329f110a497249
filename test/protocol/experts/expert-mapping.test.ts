import assert from "node:assert/strict";
import { createExpertManager } from "../../../src/protocol/experts/expert-manager.ts";
import { createExpertMapping, parseExpertMapping } from "../../../src/protocol/experts/expert-mapping.ts";
import { hash, hotkey, hotkeys } from "../support.ts";

const manager = createExpertManager(
  {
    layers: [
      { layer: 0, experts: 4 },
      { layer: 2, experts: 8 },
    ],
  },
  2,
);
const [a, b, c] = hotkeys(3) as [string, string, string];
const mapping = createExpertMapping({ cycle: 5, seed: hash("seed"), groups: [[a, c], [b]], unavailable: [] }, manager);

describe("expert mapping", () => {
  it("gives a miner the pairs of its group, and goes both ways", () => {
    const own = mapping.forMiner(b);
    assert.equal(own?.group, 1);
    assert.deepEqual(own?.layers, [
      {
        layer: 0,
        pairs: [
          [0, 2],
          [1, 3],
        ],
      },
      {
        layer: 2,
        pairs: [
          [0, 4],
          [1, 5],
          [2, 6],
          [3, 7],
        ],
      },
    ]);
    for (const { layer, pairs } of own?.layers ?? []) {
      for (const [local, original] of pairs) {
        assert.equal(own?.toLocal(layer, original), local);
        assert.equal(own?.toOriginal(layer, local), original);
      }
    }
    assert.equal(mapping.forMiner(c)?.group, 0);
  });

  it("has nothing for other experts, layers, groups and hotkeys", () => {
    const own = mapping.forMiner(a);
    assert.equal(own?.toLocal(0, 2), undefined);
    assert.equal(own?.toLocal(1, 0), undefined);
    assert.equal(own?.toOriginal(0, 2), undefined);
    assert.equal(mapping.forGroup(2), undefined);
    assert.equal(mapping.forMiner(hotkey("stranger")), undefined);
  });

  it("comes back from its document", () => {
    const document = JSON.parse(JSON.stringify(mapping.toDocument()));
    const read = parseExpertMapping(document);
    assert.deepEqual(read.toDocument(), mapping.toDocument());
    assert.equal(read.forMiner(b)?.toOriginal(2, 3), 7);
  });

  it("refuses documents that contradict themselves", () => {
    type Draft = { groups: { group: number; miners: string[]; layers: { layer: number; pairs: number[][] }[] }[]; extra?: number };
    const wrong: ((draft: Draft) => void)[] = [
      (draft) => draft.groups.reverse(),
      (draft) => draft.groups[0]!.miners.push(b),
      (draft) => draft.groups[0]!.layers.reverse(),
      (draft) => draft.groups[0]!.layers[0]!.pairs.reverse(),
      (draft) => draft.groups[0]!.layers[0]!.pairs.push([0, 1, 2]),
      (draft) => draft.groups[0]!.miners.push("nobody"),
      (draft) => {
        draft.extra = 1;
      },
    ];
    for (const spoil of wrong) {
      const document = JSON.parse(JSON.stringify(mapping.toDocument())) as Draft;
      spoil(document);
      assert.throws(() => parseExpertMapping(document), { code: "expert-mapping-invalid" });
    }
    assert.throws(() => parseExpertMapping(null), { code: "expert-mapping-invalid" });
  });
});
