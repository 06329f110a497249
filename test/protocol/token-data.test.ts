import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checkTokenData,
  decodeTokens,
  parseTokenData,
  placeOfSequence,
  sequenceBytes,
  shardBytes,
  type TokenData,
} from "../../src/protocol/token-data.ts";
import { hash } from "./support.ts";

const example: TokenData = {
  format: "connito/token-data/1",
  tokenizer: hash("tokenizer"),
  sequenceLength: 7,
  dtype: "u16",
  documents: 3,
  textBytes: 500,
  sequences: 11,
  shards: [4, 4, 3].map((sequences, shard) => ({ hash: hash(`shard ${shard}`), sequences })),
};

describe("protocol/token-data", () => {
  it("takes a document that keeps the rules, and gives it back", () => {
    assert.deepEqual(parseTokenData(JSON.parse(JSON.stringify(example))), example);
    assert.deepEqual(parseTokenData({ ...example, sequences: 4, shards: example.shards.slice(0, 1) }).sequences, 4);
  });

  it("refuses what breaks one of them", () => {
    const shards = (...sizes: number[]) => ({
      sequences: sizes.reduce((sum, size) => sum + size, 0),
      shards: sizes.map((sequences) => ({ hash: hash("shard"), sequences })),
    });
    const wrong: object[] = [
      { format: "connito/token-data/2" },
      { tokenizer: "12" },
      { sequenceLength: 0 },
      { dtype: "u8" },
      { documents: -1 },
      { more: true },
      { sequences: 12 },
      shards(),
      shards(4, 0),
      shards(4, 3, 4),
      shards(4, 4, 5),
      { ...shards(1 << 22), sequenceLength: 31 },
      { shards: [{ hash: "x", sequences: 11 }] },
    ];
    for (const change of wrong) {
      assert.throws(
        () => parseTokenData({ ...example, ...change }),
        { code: "token-data-invalid", exit: 40 },
        JSON.stringify(change).slice(0, 80),
      );
    }
  });

  it("finds each sequence in its shard, one behind the other", () => {
    const bytes = sequenceBytes(example);
    assert.equal(bytes, 16);
    const places = Array.from({ length: 11 }, (_, index) => placeOfSequence(example, index));
    assert.deepEqual(
      places.map(({ shard }) => shard),
      [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2],
    );
    assert.deepEqual(
      places.map(({ offset }) => offset / bytes),
      [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2],
    );
    assert.deepEqual(
      [0, 1, 2].map((shard) => shardBytes(example, shard)),
      [64, 64, 48],
    );
    for (const index of [-1, 11, 0.5]) assert.throws(() => placeOfSequence(example, index));
  });

  it("reads tokens of both widths, little-endian, from wherever the bytes lie", () => {
    const token = { u16: 0xffff, u32: 0x7fff_ffff };
    for (const dtype of ["u16", "u32"] as const) {
      fc.assert(
        fc.property(fc.array(fc.integer({ min: 0, max: token[dtype] })), fc.integer({ min: 0, max: 3 }), (tokens, at) => {
          const width = dtype === "u16" ? 2 : 4;
          const bytes = Buffer.alloc(at + width * tokens.length);
          for (const [index, value] of tokens.entries()) bytes.writeUIntLE(value, at + width * index, width);
          assert.deepEqual([...decodeTokens(dtype, bytes.subarray(at))], tokens);
        }),
      );
    }
  });

  it("refuses data of another tokenizer or length", () => {
    const expected = { tokenizer: example.tokenizer, sequenceLength: 7 };
    checkTokenData(example, expected, "the data");
    for (const change of [{ tokenizer: hash("another") }, { sequenceLength: 8 }]) {
      assert.throws(() => checkTokenData({ ...example, ...change }, expected, "the data"), { code: "token-data-mismatch", exit: 40 });
    }
  });
});
