import assert from "node:assert/strict";
import fc from "fast-check";
import { type ChainRecord, decodeRecord, encodeRecord, locatorRoom, maximumRecordBytes } from "../../src/protocol/records.ts";
import { hash } from "./support.ts";

const hashes = fc.string().map(hash);
const cycle = fc.nat(0xffff_ffff);
const group = fc.nat(0xffff);
const locator = (room: number) =>
  fc
    .oneof(
      fc
        .webAuthority({ withPort: true })
        .filter((text) => /:[1-9][0-9]*$/.test(text) && !text.includes("@"))
        .map((text) => `http://${text}`),
      fc.string({ unit: fc.constantFrom("a", "/", "é", "7", "."), maxLength: 20 }).map((path) => `file:/x${path}`),
    )
    .filter((text) => Buffer.byteLength(text) <= room);

const records: fc.Arbitrary<ChainRecord> = fc.oneof(
  fc.record({ kind: fc.constant("commit" as const), cycle, group, commitment: hashes }),
  fc.record({ kind: fc.constant("reveal" as const), cycle, group, artifactRoot: hashes, salt: hashes, locator: locator(56) }),
  fc.record({ kind: fc.constant("version" as const), cycle, previousRoot: hashes, root: hashes, locator: locator(58) }),
  fc.record({ kind: fc.constant("ready" as const), cycle, group }),
  fc.record({ kind: fc.constant("report" as const), cycle, base: hashes, report: hashes, locator: locator(58) }),
  fc.record({ kind: fc.constant("ballot" as const), cycle, base: hashes, ballot: hashes, locator: locator(58) }),
  fc.record({ kind: fc.constant("task" as const), taskHash: hashes, locator: locator(94) }),
);

describe("records", () => {
  it("come back as they were, and fit the pallet's field", () => {
    fc.assert(
      fc.property(records, (record) => {
        const bytes = encodeRecord(record);
        assert.ok(bytes.length <= maximumRecordBytes);
        assert.deepEqual(decodeRecord(bytes), { ...record });
      }),
    );
  });

  it("are read from the middle of a larger buffer", () => {
    const bytes = encodeRecord({ kind: "task", taskHash: hash("task"), locator: "http://a:1" });
    const padded = new Uint8Array(bytes.length + 9);
    padded.set(bytes, 5);
    assert.equal(decodeRecord(padded.subarray(5, 5 + bytes.length))?.kind, "task");
  });

  it("take a locator up to the room there is, and say how much that is", () => {
    const record = (length: number): ChainRecord => ({
      kind: "reveal",
      cycle: 1,
      group: 0,
      artifactRoot: hash("a"),
      salt: hash("s"),
      locator: `file:/${"x".repeat(length - 6)}`,
    });
    assert.equal(locatorRoom("reveal"), 56);
    for (const kind of ["version", "report", "ballot"] as const) assert.equal(locatorRoom(kind), 58);
    assert.equal(locatorRoom("task"), 94);
    assert.equal(encodeRecord(record(56)).length, 128);
    assert.throws(() => encodeRecord(record(57)), { code: "record-too-long", message: /57 bytes; .* room for 56/ });
    assert.throws(() => encodeRecord({ kind: "task", taskHash: hash("t"), locator: "nowhere" }), { code: "locator-invalid" });
  });

  it("treats every other byte string as foreign: what decodes is what would have been written", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 140 }), fc.constantFrom(undefined, 1, 2, 3, 4, 5, 6, 7), (bytes, kind) => {
        const forged = kind === undefined ? bytes : Uint8Array.of(1, kind, ...bytes);
        const record = decodeRecord(forged);
        if (record !== undefined) assert.deepEqual(encodeRecord(record), forged);
      }),
    );
    fc.assert(
      fc.property(records, fc.nat(127), fc.integer({ min: 1, max: 255 }), (record, at, flip) => {
        const bytes = encodeRecord(record);
        const place = at % bytes.length;
        bytes[place] = (bytes[place] as number) ^ flip;
        const read = decodeRecord(bytes);
        if (read !== undefined) assert.deepEqual(encodeRecord(read), bytes);
      }),
    );
  });

  it("are foreign when cut, lengthened, of another version or kind, or without a locator", () => {
    const commit = encodeRecord({ kind: "commit", cycle: 1, group: 1, commitment: hash("c") });
    const task = encodeRecord({ kind: "task", taskHash: hash("t"), locator: "http://a:1" });
    const foreign = [
      new Uint8Array(),
      commit.subarray(0, -1),
      Uint8Array.of(...commit, 0),
      Uint8Array.of(2, ...commit.subarray(1)),
      Uint8Array.of(1, 5, ...commit.subarray(2)),
      Uint8Array.of(1, 6, ...commit.subarray(2)),
      task.subarray(0, 34),
      Uint8Array.of(...task.subarray(0, 34), 0xff, 0xfe),
      // Text that is no UTF-8 must not turn into a locator with replacement characters.
      Uint8Array.of(...task.subarray(0, 34), ...Buffer.from("file:/x"), 0xff),
      Uint8Array.of(...task, ...new Uint8Array(200)),
    ];
    for (const bytes of foreign) assert.equal(decodeRecord(bytes), undefined);
  });
});
