/** Values of the localnet's types, for properties that hold for all of them. */

import { u8aToHex } from "@polkadot/util";
import fc from "fast-check";
import type { Shape } from "../../../src/chain/localnet/metadata/scale.ts";

/** Plain values of a shape. Calls are left out: a call in a call is compared by its type. */
export function valuesOf(shape: Shape): fc.Arbitrary<unknown> {
  switch (shape.kind) {
    case "primitive": {
      const bits = Number(shape.name.slice(1));
      if (shape.name === "bool") {
        return fc.boolean();
      }
      if (shape.name === "str") {
        return fc.string();
      }
      const signed = shape.name.startsWith("i");
      const [min, max] = signed ? [-(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n] : [0n, (1n << BigInt(bits)) - 1n];
      const integers = fc.bigInt({ min, max });
      return bits <= 32 ? integers.map(Number) : integers;
    }
    case "compact":
      return valuesOf(shape.of);
    case "sequence":
    case "array": {
      const length = shape.kind === "array" ? { minLength: shape.length, maxLength: shape.length } : { maxLength: 5 };
      return shape.of.kind === "primitive" && shape.of.name === "u8"
        ? fc.uint8Array(length).map((bytes) => u8aToHex(bytes))
        : fc.array(valuesOf(shape.of), length);
    }
    case "tuple":
      return fc.tuple(...shape.of.map(valuesOf));
    case "composite":
      return shape.fields.length === 1 && shape.fields[0]?.name === undefined
        ? valuesOf((shape.fields[0] as { type: Shape }).type)
        : fc.record(Object.fromEntries(shape.fields.map((field) => [camelCase(field.name ?? ""), valuesOf(field.type)])), {
            noNullPrototype: true,
          });
    case "variant":
      if (shape.path === "Option") {
        return fc.option(valuesOf(contentOf(shape, 1)), { nil: undefined });
      }
      // polkadot.js takes an address's other variants for a plain account: only the one that the chain understands is made.
      return shape.path.endsWith("MultiAddress") ? tagged(shape, 0) : fc.oneof(...shape.variants.map((_, index) => tagged(shape, index)));
    default:
      throw new Error("no values for an outer enum");
  }
}

type VariantShape = Extract<Shape, { kind: "variant" }>;

function contentOf(shape: VariantShape, index: number): Shape {
  return shape.variants[index]?.fields[0]?.type as Shape;
}

function tagged(shape: VariantShape, index: number): fc.Arbitrary<unknown> {
  const variant = shape.variants[index];
  const fields = variant?.fields ?? [];
  const type = variant?.name;
  if (fields.length === 0) {
    return fc.constant({ type });
  }
  const value =
    fields[0]?.name === undefined
      ? fields.length === 1
        ? valuesOf(contentOf(shape, index))
        : fc.tuple(...fields.map(({ type: part }) => valuesOf(part)))
      : fc.record(Object.fromEntries(fields.map((field) => [camelCase(field.name ?? ""), valuesOf(field.type)])), {
          noNullPrototype: true,
        });
  return value.map((content) => ({ type, value: content }));
}

export const camelCase = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
