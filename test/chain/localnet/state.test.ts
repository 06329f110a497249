/** The versioned storage against the plainest model of it: a whole map for every block. */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { Hex } from "../../../src/chain/localnet/metadata/scale.ts";
import { createState } from "../../../src/chain/localnet/state.ts";

const hex = (maxLength: number) =>
  fc.array(fc.constantFrom("00", "01", "7f", "ff"), { minLength: 1, maxLength }).map((bytes): Hex => `0x${bytes.join("")}`);
const changes = fc.array(fc.tuple(hex(3), fc.option(hex(2), { nil: undefined })), { maxLength: 6 });

describe("the state", () => {
  it("reads at every block what a map of that block would hold, and pages through its keys in order", () => {
    fc.assert(
      fc.property(fc.array(changes, { minLength: 1, maxLength: 12 }), hex(1), fc.integer({ min: 1, max: 4 }), (blocks, prefix, count) => {
        const state = createState();
        const models: Map<Hex, Hex>[] = [];
        for (const [number, block] of blocks.entries()) {
          const model = new Map(models.at(-1) ?? []);
          const set = new Map(block);
          for (const [key, value] of set) {
            if (value === undefined) {
              model.delete(key);
            } else {
              model.set(key, value);
            }
          }
          models.push(model);
          state.commit(number, set);
        }
        for (const [number, model] of models.entries()) {
          const at = state.at(number);
          for (const [key] of blocks.flat()) {
            assert.equal(at.read(key), model.get(key));
          }
          const expected = [...model.keys()].filter((key) => key.startsWith(prefix)).sort();
          assert.deepEqual(at.keys(prefix), expected);
          const paged: Hex[] = [];
          for (let page = at.page(prefix, count, undefined); page.length > 0; page = at.page(prefix, count, paged.at(-1))) {
            assert.ok(page.length <= count);
            paged.push(...page);
          }
          assert.deepEqual(paged, expected);
        }
      }),
    );
  });
});
