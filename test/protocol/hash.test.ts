import assert from "node:assert/strict";
import fc from "fast-check";
import {
  blockHashOf,
  fields,
  fromHex,
  hashFields,
  hashToBytes,
  isHash,
  sha256,
  toHex,
  u16,
  u32,
  u64,
  utf8,
} from "../../src/protocol/hash.ts";

const bytes = fc.uint8Array({ maxLength: 40 });

/** Reads what `fields` wrote: if this can be done, two lists of fields never share bytes. */
function split(buffer: Uint8Array): string[] {
  const parts: string[] = [];
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  for (let offset = 0; offset < buffer.length; ) {
    const length = view.getUint32(offset, true);
    parts.push(toHex(buffer.subarray(offset + 4, offset + 4 + length)));
    offset += 4 + length;
  }
  return parts;
}

describe("hash", () => {
  it("is SHA-256 as FIPS 180-4 publishes it", () => {
    assert.equal(toHex(sha256(utf8("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert.equal(toHex(sha256(utf8("a"), utf8("bc"))), toHex(sha256(utf8("abc"))));
  });

  it("writes fields that can be told apart again", () => {
    fc.assert(
      fc.property(fc.string(), fc.array(bytes), (domain, parts) => {
        assert.deepEqual(split(fields(domain, ...parts)), [utf8(domain), ...parts].map(toHex));
      }),
    );
  });

  it("lays fields out as the protocol says", () => {
    assert.equal(toHex(fields("d", u16(0x0102), u32(3), new Uint8Array())), "01000000640200000002010400000003000000" + "00000000");
    assert.equal(hashFields("d", u16(258)), toHex(sha256(fromHex("01000000" + "64" + "02000000" + "0201"))));
  });

  it("writes integers little-endian and refuses what does not fit", () => {
    assert.equal(toHex(u16(65535)), "ffff");
    assert.equal(toHex(u32(0x01020304)), "04030201");
    assert.equal(toHex(u64(2n ** 64n - 1n)), "ffffffffffffffff");
    assert.equal(toHex(u64(5)), "0500000000000000");
    for (const attempt of [() => u16(65536), () => u16(-1), () => u32(1.5), () => u32(2 ** 32), () => u64(2 ** 53), () => u64(2n ** 64n)]) {
      assert.throws(attempt, { code: "integer-out-of-range" });
    }
  });

  it("takes hashes only in their one form", () => {
    const hash = "ab".repeat(32);
    assert.ok(isHash(hash));
    for (const wrong of [hash.toUpperCase(), `0x${hash}`, hash.slice(2), 7, undefined]) assert.equal(isHash(wrong), false);
    assert.throws(() => hashToBytes(hash.toUpperCase()), { code: "hash-invalid" });
    assert.throws(() => fromHex("abc"), { code: "hex-invalid" });
    assert.throws(() => fromHex("zz"), { code: "hex-invalid" });
    assert.equal(blockHashOf(`0x${hash.toUpperCase()}`), hash);
    assert.throws(() => blockHashOf("0x12"), { code: "hash-invalid" });
  });
});
