import assert from "node:assert/strict";
import fc from "fast-check";
import { canonicalJson, documentHash } from "../../src/protocol/canonical.ts";
import { sha256, toHex, utf8 } from "../../src/protocol/hash.ts";

const text = (value: unknown) => Buffer.from(canonicalJson(value)).toString("utf8");

describe("canonical JSON", () => {
  it("gives the bytes that RFC 8785 publishes for its example (section 3.2.4)", () => {
    const input = JSON.parse(
      String.raw`{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}`,
    );
    const published =
      "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a5b3333333333333333332e333333333333332c31652b33302c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282ac245c75303030665c6e4127425c225c5c5c5c5c222f227d";
    assert.equal(toHex(canonicalJson(input)), published);
  });

  it("sorts names by UTF-16 code units, as the RFC's section 3.2.3 shows", () => {
    const input = { "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude00": 5, "\u0080": 6, "\u00f6": 7 };
    assert.equal(text(input), '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\ud83d\ude00":5,"\ufb33":3}');
  });

  it("does not depend on the order in which an object was built, and loses nothing", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ stringUnit: "grapheme" })), (value) => {
        const turned = Object.fromEntries(Object.entries(value).reverse());
        assert.equal(text(turned), text(value));
        assert.deepEqual(JSON.parse(text(value)), JSON.parse(JSON.stringify(value)));
        assert.equal(documentHash(value), toHex(sha256(utf8(text(value)))));
      }),
    );
  });

  it("refuses what JSON cannot carry, and names where it is", () => {
    const circle: { self?: unknown } = {};
    circle.self = circle;
    const cases: [unknown, RegExp][] = [
      [{ a: { b: [1, Number.NaN] } }, /^a\.b\[1\] is NaN/],
      [{ a: -Infinity }, /^a is -Infinity/],
      [{ a: undefined }, /^a is undefined/],
      [[1n], /^\[0\] is bigint/],
      [{ a: new Uint8Array(2) }, /^a is a Uint8Array/],
      [new Map(), /^The document is a Map/],
      [{ at: new Date() }, /^at is a Date/],
      [{ toJSON: () => 1 }, /toJSON/],
      ["\ud800", /lone surrogate/],
      [{ "\udc00": 1 }, /lone surrogate/],
      [circle, /nested deeper/],
      [undefined, /undefined/],
    ];
    for (const [value, message] of cases) assert.throws(() => canonicalJson(value), { code: "document-not-json", message });
  });
});
