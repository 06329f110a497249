/**
 * The localnet's metadata against mainnet's: whatever the localnet declares must be mainnet's to the byte. Types are compared
 * by everything that decides their bytes, then calls and storage keys are encoded by both and compared as bytes.
 */

import assert from "node:assert/strict";
import { expandMetadata } from "@polkadot/types";
import type { StorageEntryMetadataLatest } from "@polkadot/types/interfaces";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import fc from "fast-check";
import type { Hex, Scale } from "../../../src/chain/localnet/metadata/scale.ts";
import { storageKey } from "../../../src/chain/localnet/runtime/ledger.ts";
import { createRuntime, type Runtime } from "../../../src/chain/localnet/runtime/runtime.ts";
import { describeType, type ReadMetadata, readMetadata, readReference, referencePath } from "./reference.ts";
import { camelCase, valuesOf } from "./shapes.ts";

/** Mainnet's constants whose values the localnet keeps; the others are its own on purpose (block times). */
const ownConstants = new Set(["Timestamp.MinimumPeriod", "Aura.SlotDuration", "System.Version", "System.DbWeight"]);

describe("the localnet's metadata", () => {
  let runtime: Runtime;
  let own: ReadMetadata;
  let reference: ReadMetadata;

  before(async function () {
    if (referencePath === undefined) {
      console.log("      skipped: mainnet's metadata is not here; set CONNITO_REFERENCE to the folder that has it");
      this.skip();
    }
    await cryptoWaitReady();
    runtime = createRuntime(12_000);
    own = readMetadata(runtime.metadata.encoded(15) as Hex);
    reference = readReference(referencePath);
  });

  const pallets = (read: ReadMetadata) => read.metadata.asLatest.pallets;
  const palletIn = (read: ReadMetadata, name: string) => {
    const found = pallets(read).find((pallet) => pallet.name.toString() === name);
    assert.ok(found, `mainnet has no pallet ${name}`);
    return found;
  };
  const variantsOf = (read: ReadMetadata, option: { isSome: boolean; unwrap(): { type: unknown } }) =>
    option.isSome
      ? read.metadata.asLatest.lookup.getSiType(option.unwrap().type as never).def.asVariant.variants.map((variant) => ({
          name: variant.name.toString(),
          index: variant.index.toNumber(),
          fields: variant.fields.map((field) => [
            field.name.isSome ? field.name.unwrap().toString() : "",
            describeType(read.metadata.asLatest.lookup, field.type),
          ]),
        }))
      : [];

  for (const kind of ["calls", "events", "errors"] as const) {
    it(`has mainnet's ${kind}: index, name, and type of every field`, () => {
      for (const pallet of pallets(own)) {
        const theirs = palletIn(reference, pallet.name.toString());
        assert.equal(pallet.index.toNumber(), theirs.index.toNumber());
        const pathOf = (read: ReadMetadata, option: unknown) => {
          const { isSome, unwrap } = option as { isSome: boolean; unwrap(): { type: unknown } };
          const type = isSome ? unwrap.call(option).type : undefined;
          return type === undefined
            ? undefined
            : read.metadata.asLatest.lookup
                .getSiType(type as never)
                .path.map(String)
                .join("::");
        };
        const path = pathOf(own, pallet[kind]);
        assert.equal(path, path === undefined ? undefined : pathOf(reference, theirs[kind]));
        const known = new Map(variantsOf(reference, theirs[kind] as never).map((variant) => [variant.name, variant]));
        for (const variant of variantsOf(own, pallet[kind] as never)) {
          assert.deepEqual(variant, known.get(variant.name), `${pallet.name.toString()}.${variant.name}`);
        }
      }
    });
  }

  const itemsOf = (read: ReadMetadata, name: string): StorageEntryMetadataLatest[] => {
    const { storage } = palletIn(read, name);
    return storage.isSome ? [...storage.unwrap().items] : [];
  };
  const describeItem = ({ metadata }: ReadMetadata, item: StorageEntryMetadataLatest) => {
    const { lookup } = metadata.asLatest;
    const fallback = item.fallback.toHex();
    return item.type.isPlain
      ? { value: describeType(lookup, item.type.asPlain), modifier: item.modifier.type, fallback }
      : {
          hashers: item.type.asMap.hashers.map((hasher) => hasher.type),
          key: describeType(lookup, item.type.asMap.key),
          value: describeType(lookup, item.type.asMap.value),
          modifier: item.modifier.type,
          fallback,
        };
  };

  it("has mainnet's storage: prefix, hashers, key, value, and what an absent item reads as", () => {
    for (const pallet of pallets(own)) {
      const name = pallet.name.toString();
      const known = new Map(itemsOf(reference, name).map((item) => [item.name.toString(), item]));
      for (const item of itemsOf(own, name)) {
        const theirs = known.get(item.name.toString());
        assert.ok(theirs, `mainnet has no ${name}.${item.name.toString()}`);
        assert.deepEqual(describeItem(own, item), describeItem(reference, theirs), `${name}.${item.name.toString()}`);
      }
    }
  });

  it("has mainnet's constants, but for block times and the version", () => {
    for (const pallet of pallets(own)) {
      const name = pallet.name.toString();
      for (const constant of pallet.constants) {
        const full = `${name}.${constant.name.toString()}`;
        const theirs = palletIn(reference, name).constants.find(({ name: other }) => other.eq(constant.name));
        assert.ok(theirs, `mainnet has no ${full}`);
        assert.equal(
          describeType(own.metadata.asLatest.lookup, constant.type),
          describeType(reference.metadata.asLatest.lookup, theirs.type),
          full,
        );
        if (!ownConstants.has(full)) {
          assert.equal(constant.value.toHex(), theirs.value.toHex(), full);
        }
      }
    }
  });

  it("has mainnet's runtime APIs: arguments and answers", () => {
    for (const api of own.metadata.asLatest.apis) {
      const theirs = reference.metadata.asLatest.apis.find((candidate) => candidate.name.eq(api.name));
      assert.ok(theirs, `mainnet has no ${api.name.toString()}`);
      for (const method of api.methods) {
        const full = `${api.name.toString()}.${method.name.toString()}`;
        const known: typeof method | undefined = theirs.methods.find((candidate) => candidate.name.eq(method.name));
        assert.ok(known, `mainnet has no ${full}`);
        const signature = (read: ReadMetadata, of: typeof method) => [
          of.inputs.map((input) => `${input.name.toString()}: ${describeType(read.metadata.asLatest.lookup, input.type)}`),
          describeType(read.metadata.asLatest.lookup, of.output),
        ];
        assert.deepEqual(signature(own, method), signature(reference, known), full);
      }
    }
  });

  it("has mainnet's signed extensions, and extrinsics of the same types", () => {
    // polkadot.js loses what is signed besides when it lifts version 15 to its latest: hence asV15 for ours.
    const { lookup } = reference.metadata.asLatest;
    assert.deepEqual(
      own.metadata.asV15.extrinsic.signedExtensions.map((extension) => [
        extension.identifier.toString(),
        describeType(own.metadata.asLatest.lookup, extension.type),
        describeType(own.metadata.asLatest.lookup, extension.additionalSigned),
      ]),
      reference.metadata.asLatest.extrinsic.transactionExtensions.map((extension) => [
        extension.identifier.toString(),
        describeType(lookup, extension.type),
        describeType(lookup, extension.implicit),
      ]),
    );
    const types = ({ metadata: { asLatest } }: ReadMetadata) =>
      [asLatest.extrinsic.addressType, asLatest.extrinsic.signatureType].map((type) => describeType(asLatest.lookup, type));
    assert.deepEqual(types(own), types(reference));
  });

  it("encodes every call to the bytes that mainnet's metadata gives", () => {
    const theirs = expandMetadata(reference.registry, reference.metadata).tx;
    const ours = expandMetadata(own.registry, own.metadata).tx;
    let compared = 0;
    for (const pallet of runtime.pallets) {
      for (const [name, definition] of Object.entries(pallet.calls ?? {})) {
        const scales = Object.values(definition.fields) as Scale<unknown>[];
        if (scales.some(({ shape }) => shape.kind === "runtime")) {
          continue;
        }
        const [section, method] = [pallet.name.charAt(0).toLowerCase() + pallet.name.slice(1), camelCase(name)];
        const index = new Uint8Array([pallet.index, definition.index]);
        fc.assert(
          fc.property(fc.tuple(...scales.map(({ shape }) => valuesOf(shape))), (values) => {
            const encoded = scales.map((scale, at) => runtime.metadata.codec.encode(scale, values[at]));
            const bytes = Buffer.concat([index, ...encoded]);
            // Whatever our codec wrote, each metadata's own reading of it writes again: the bytes mean the same in both.
            const reread = (registry: ReadMetadata["registry"]) => Buffer.from(registry.createType("Call", new Uint8Array(bytes)).toU8a());
            assert.deepEqual(reread(own.registry), bytes);
            assert.deepEqual(reread(reference.registry), bytes);
            const human = (registry: ReadMetadata["registry"]) => registry.createType("Call", new Uint8Array(bytes)).toHuman();
            assert.deepEqual(human(own.registry), human(reference.registry));
          }),
          { numRuns: 8 },
        );
        assert.deepEqual(ours[section]?.[method]?.callIndex, theirs[section]?.[method]?.callIndex);
        compared++;
      }
    }
    assert.ok(compared >= 40, `only ${compared} calls were compared`);
  });

  it("makes every storage key that mainnet's metadata makes", () => {
    const theirs = expandMetadata(reference.registry, reference.metadata).query;
    let compared = 0;
    for (const pallet of runtime.pallets) {
      for (const [name, item] of Object.entries(pallet.storage ?? {})) {
        const entry =
          theirs[pallet.name.charAt(0).toLowerCase() + pallet.name.slice(1)]?.[
            name === "POWRegistrationsThisInterval" ? "powRegistrationsThisInterval" : entryName(name)
          ];
        assert.ok(entry, `mainnet has no ${pallet.name}.${name}`);
        fc.assert(
          fc.property(fc.tuple(...item.keys.map(([, scale]) => valuesOf(scale.shape))), (keys) => {
            // polkadot.js puts the key's length before it.
            const expected = reference.registry.createType("StorageKey", keys.length === 0 ? entry : [entry, keys]).toHex();
            assert.equal(storageKey(runtime.metadata.codec, item, keys), expected, `${pallet.name}.${name}`);
          }),
          { numRuns: 10 },
        );
        compared++;
      }
    }
    assert.ok(compared > 80, `only ${compared} items were compared`);
  });
});

/** polkadot.js' name of a storage item: a leading run of capitals is lowered as one word. */
function entryName(name: string): string {
  const capitals = /^[A-Z]+/.exec(name)?.[0] ?? "";
  const lowered = capitals.length > 1 && capitals.length < name.length ? capitals.length - 1 : capitals.length;
  return name.slice(0, lowered).toLowerCase() + name.slice(lowered);
}
