/** The localnet's codec against polkadot.js', which reads and writes by the metadata alone: the same bytes for every type of the runtime. */

import assert from "node:assert/strict";
import { u8aToHex } from "@polkadot/util";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import fc from "fast-check";
import type { StorageItem } from "../../../../src/chain/localnet/metadata/declarations.ts";
import type { Hex, Scale } from "../../../../src/chain/localnet/metadata/scale.ts";
import { compact, option, text, u8, u32, u64, u128 } from "../../../../src/chain/localnet/metadata/scale.ts";
import { createCodec } from "../../../../src/chain/localnet/runtime/codec.ts";
import { createRuntime, type Runtime } from "../../../../src/chain/localnet/runtime/runtime.ts";
import { type ReadMetadata, readMetadata } from "../reference.ts";
import { valuesOf } from "../shapes.ts";

describe("the localnet's codec", () => {
  let runtime: Runtime;
  let read: ReadMetadata;

  before(async () => {
    await cryptoWaitReady();
    runtime = createRuntime(12_000);
    read = readMetadata(runtime.metadata.encoded(15) as Hex);
  });

  /** What is written reads back, and is what polkadot.js reads and writes again. */
  function check(name: string, scale: Scale<unknown>, id: unknown): void {
    const { codec } = runtime.metadata;
    fc.assert(
      fc.property(valuesOf(scale.shape), (value) => {
        const bytes = codec.encode(scale, value);
        assert.deepEqual(codec.decodeWithLength(scale, bytes), { value, length: bytes.length }, name);
        const theirs = read.registry.createType(read.registry.createLookupType(id as never), bytes);
        assert.equal(u8aToHex(theirs.toU8a()), u8aToHex(bytes), name);
      }),
      { numRuns: 10, seed: 6 },
    );
  }

  it("agrees with polkadot.js on every storage item", () => {
    for (const pallet of read.metadata.asLatest.pallets) {
      const ours = runtime.pallets.find(({ name }) => name === pallet.name.toString())?.storage ?? {};
      for (const { name, type } of pallet.storage.isSome ? pallet.storage.unwrap().items : []) {
        const item = (ours as Record<string, StorageItem>)[name.toString()] as StorageItem;
        // Events hold the runtime's own enum, which no shape spells out.
        if (item.name !== "Events") {
          check(`${pallet.name.toString()}.${item.name}`, item.value as Scale<unknown>, type.isPlain ? type.asPlain : type.asMap.value);
        }
      }
    }
  });

  it("agrees with polkadot.js on every answer of a runtime API", () => {
    for (const api of read.metadata.asLatest.apis) {
      for (const [name, { output }] of Object.entries(runtime.apis[api.name.toString()]?.methods ?? {})) {
        check(`${api.name.toString()}.${name}`, output, api.methods.find((method) => method.name.eq(name))?.output);
      }
    }
  });

  it("refuses bytes that end too soon, and values that do not fit", () => {
    const { encode, decode } = createCodec();
    for (const [scale, bytes] of [
      [u64, "0x00"],
      [text, "0x0841"],
      [compact(u32), "0x0300"],
      [option(u8), "0x01"],
    ] as [Scale<unknown>, string][]) {
      assert.throws(() => decode(scale, bytes), RangeError);
    }
    assert.throws(() => encode(u8, 256), RangeError);
    assert.throws(() => encode(u128, 1n << 128n), RangeError);
  });
});
