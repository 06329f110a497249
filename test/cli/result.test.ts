import assert from "node:assert/strict";
import fc from "fast-check";
import * as v from "valibot";
import { checkDocument, documentText, resultDocument } from "../../src/cli/result.ts";

describe("result", () => {
  it("prints anything a step returns as one object that reads back", () => {
    const leaf = fc.oneof(
      fc.bigInt(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
      fc.constant(undefined),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie("value")), fc.dictionary(fc.string(), tie("value")), fc.uint8Array()),
    }));
    fc.assert(
      fc.property(value, (result) => {
        const document = JSON.parse(documentText(resultDocument(result)));
        assert.ok(typeof document === "object" && document !== null && !Array.isArray(document));
      }),
    );
  });

  it("loses no digit of a big integer, wherever it stands", () => {
    fc.assert(
      fc.property(fc.bigInt(), (big) => {
        const read = JSON.parse(documentText(resultDocument({ big, list: [big], map: new Map([[1, big]]), set: new Set([big]) })));
        const text = big.toString();
        assert.deepEqual(read, { big: text, list: [text], map: { 1: text }, set: [text] });
      }),
    );
  });

  it("keeps what has a JSON form of its own, and the numbers of typed arrays", () => {
    const result = { at: new Date(0), losses: Float64Array.of(1.5, 2.5), bytes: Uint8Array.of(0, 171) };
    assert.deepEqual(resultDocument(result), { at: "1970-01-01T00:00:00.000Z", losses: [1.5, 2.5], bytes: "00ab" });
  });

  it("is refused with the place where it leaves its schema", () => {
    const schema = v.strictObject({ stake: v.string(), inner: v.strictObject({ score: v.number() }) });
    checkDocument(schema, resultDocument({ stake: 1n, inner: { score: 2 } }));
    assert.throws(() => checkDocument(schema, { stake: 1, inner: { score: "2" } }), /stake: .*; inner\.score: /);
    assert.throws(() => checkDocument(schema, { stake: "1", inner: { score: 2 }, more: 0 }), { code: "result-shape" });
    // A number that is not finite would be printed as null.
    assert.throws(() => checkDocument(schema, { stake: "1", inner: { score: Number.NaN } }), /inner\.score/);
  });
});
