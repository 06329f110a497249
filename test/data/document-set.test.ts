import assert from "node:assert/strict";
import fc from "fast-check";
import { createDocumentSet, documentKey, positionOf } from "../../src/data/document-set.ts";

describe("data/document-set", () => {
  it("holds what was put in and nothing else, also keys that are nearly the same", () => {
    const half = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 0xffff_ffff }));
    const key = fc.record({ high: half, low: half });
    fc.assert(
      fc.property(fc.array(key, { maxLength: 200 }), fc.array(key, { maxLength: 50 }), (keys, others) => {
        const set = createDocumentSet();
        for (const one of keys) set.add(one);
        // A low half of 0 counts as 1: no table holds both.
        const names = new Set(keys.map(({ high, low }) => `${high}/${low || 1}`));
        assert.equal(set.size, names.size);
        for (const one of [...keys, ...others]) assert.equal(set.has(one), names.has(`${one.high}/${one.low || 1}`));
      }),
    );
  });

  it("grows without losing anything", () => {
    const set = createDocumentSet();
    for (let i = 0; i < 20_000; i++) set.add(documentKey(`document ${i}`));
    assert.equal(set.size, 20_000);
    for (let i = 0; i < 40_000; i++) assert.equal(set.has(documentKey(`document ${i}`)), i < 20_000);
  });

  it("knows a text by its SHA-256, with whatever space around it", () => {
    // echo -n abc | sha256sum
    assert.deepEqual(documentKey(" abc\n"), { high: 0xba78_16bf, low: 0x8f01_cfea });
    assert.equal(positionOf({ high: 0x8000_0000, low: 0 }), 0.5);
    const share = Array.from({ length: 10_000 }, (_, i) => positionOf(documentKey(`${i}`))).filter((position) => position < 0.1).length;
    assert.ok(Math.abs(share - 1000) < 120, `${share}`);
  });
});
