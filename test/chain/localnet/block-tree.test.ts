/** The tree of blocks against the plainest model of it: every block with a whole map of its state. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { createBlockTree } from "../../../src/chain/localnet/block-tree.ts";
import type { Block } from "../../../src/chain/localnet/blocks.ts";
import type { Hex } from "../../../src/chain/localnet/metadata/scale.ts";

const zero: Hex = `0x${"00".repeat(32)}`;
let made = 0;

function blockOn(parent: Block | undefined): Block {
  const hash: Hex = `0x${(++made).toString(16).padStart(64, "0")}`;
  const header = { parentHash: parent?.hash ?? zero, number: parent === undefined ? 0 : parent.header.number + 1, stateRoot: zero };
  return { hash, header: { ...header, extrinsicsRoot: zero, logs: [] }, extrinsics: [] };
}

const keys: Hex[] = ["0x00", "0x0001", "0x01", "0x0102", "0xff"];
const changesOf = fc.array(fc.tuple(fc.constantFrom(...keys), fc.option(fc.constantFrom<Hex>("0xaa", "0xbb"), { nil: undefined })), {
  maxLength: 4,
});
/** Extends a block some places back in all that were made; then moves finality so close to the head. */
const stepOf = fc.record({ back: fc.oneof(fc.constant(0), fc.nat(4)), changes: changesOf, lag: fc.option(fc.nat(3), { nil: undefined }) });

describe("the tree of blocks", () => {
  it("has the longest line as its best, keeps what is final, and reads every state that is not pruned", () => {
    fc.assert(
      fc.property(fc.array(stepOf, { minLength: 1, maxLength: 40 }), fc.nat(5), (steps, kept) => {
        const genesis = blockOn(undefined);
        const tree = createBlockTree(genesis, new Map([["0x00", "0xcc"]]), { genesis, kept });
        const models = new Map<Hex, Map<Hex, Hex>>([[genesis.hash, new Map([["0x00", "0xcc"]])]]);
        const all = [genesis];
        let best = genesis;
        let final = genesis;
        const lineOf = (head: Block): Block[] => {
          const parent = all.find(({ hash }) => hash === head.header.parentHash);
          return parent === undefined ? [head] : [...lineOf(parent), head];
        };
        const descendsFromFinal = (block: Block): boolean => lineOf(block).includes(final);
        for (const { back, changes, lag } of steps) {
          const parent = all.at(-1 - back);
          if (parent === undefined || !descendsFromFinal(parent)) {
            continue;
          }
          const block = blockOn(parent);
          const model = new Map(models.get(parent.hash));
          for (const [key, value] of changes) {
            if (value === undefined) model.delete(key);
            else model.set(key, value);
          }
          models.set(block.hash, model);
          all.push(block);
          const before = lineOf(best);
          const { retracted, enacted } = tree.add(block, new Map(changes));
          if (block.header.number > best.header.number) best = block;
          const after = lineOf(best);
          assert.deepEqual(retracted, before.filter((member) => !after.includes(member)).reverse());
          assert.deepEqual(
            enacted,
            after.filter((member) => !before.includes(member)),
          );
          if (lag !== undefined) {
            const target = Math.max(final.header.number, best.header.number - lag);
            const passed = tree.finalize(target);
            assert.deepEqual(passed, after.slice(final.header.number + 1, target + 1));
            final = after[target] as Block;
          }
        }
        assert.equal(tree.best(), best);
        assert.equal(tree.finalized(), final);
        const oldest = final.header.number - kept;
        for (const block of all) {
          const onLine = lineOf(best).includes(block);
          const alive = block.header.number >= oldest && (onLine || descendsFromFinal(block));
          const view = tree.stateOf(block.hash);
          assert.equal(view !== undefined, alive, `block ${block.header.number}`);
          if (onLine) assert.deepEqual(tree.header(block.hash), block.header);
          if (view === undefined) continue;
          const model = models.get(block.hash) as Map<Hex, Hex>;
          for (const key of keys) assert.equal(view.read(key), model.get(key));
          assert.deepEqual(view.keys("0x00"), [...model.keys()].filter((key) => key.startsWith("0x00")).sort());
          assert.deepEqual(
            view.page("0x", 2, "0x00"),
            [...model.keys()]
              .filter((key) => key > "0x00")
              .sort()
              .slice(0, 2),
          );
        }
        const base = tree.oldest();
        assert.deepEqual(new Map([...base.state].sort()), new Map([...(models.get(base.block.hash) as Map<Hex, Hex>)].sort()));
      }),
      { numRuns: 300 },
    );
  });
});
