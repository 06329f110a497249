import assert from "node:assert/strict";
import fc from "fast-check";
import { NotJson, readLargeJson } from "../../src/model/large-json.ts";

/** The members of `large` as they are taken, or undefined where the text is refused. */
function membersOf(text: Uint8Array): Map<string | number, unknown> | undefined {
  const members = new Map<string | number, unknown>();
  try {
    const { taken } = readLargeJson(text, { name: "large", kind: "object", take: (value, key) => void members.set(key, value) });
    return taken ? members : undefined;
  } catch (error) {
    assert.ok(error instanceof NotJson);
    return undefined;
  }
}

/** The same by a general parser. */
function parsed(text: Uint8Array): Map<string, unknown> | undefined {
  try {
    const { large } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text));
    return typeof large === "object" && large !== null && !Array.isArray(large) ? new Map(Object.entries(large)) : undefined;
  } catch {
    return undefined;
  }
}

const bytes = (text: string) => new TextEncoder().encode(text);

describe("model/large-json", () => {
  it("gives the members of an object as a general parser has them, whatever they are", () => {
    const member = fc.dictionary(
      fc.string({ minLength: 1 }).filter((key) => key !== "__proto__"),
      fc.jsonValue({ maxDepth: 2 }),
    );
    fc.assert(
      fc.property(member, fc.dictionary(fc.constantFrom("before", "b"), fc.jsonValue()), fc.nat(3), (large, others, space) => {
        const text = bytes(JSON.stringify({ ...others, large, after: 1 }, undefined, space));
        assert.deepEqual(new Map([...(membersOf(text) ?? [])].map(([key, value]) => [`${key}`, value])), parsed(text));
      }),
    );
  });

  it("reads no mutated document as something else than a general parser does", () => {
    const base = bytes('{"metadata":{"total":3},"large":{"a.weight":"one.safetensors","b\\n":[1,{"c":"}"}]},"more":"large"}');
    fc.assert(
      fc.property(fc.nat(base.length - 1), fc.nat(255), fc.nat(20), (at, value, removed) => {
        const mutated = Uint8Array.from([...base.subarray(0, at), value, ...base.subarray(Math.min(base.length, at + removed))]);
        const taken = membersOf(mutated);
        if (taken !== undefined) assert.deepEqual(taken, parsed(mutated));
      }),
      { numRuns: 5000 },
    );
  });

  it("refuses what stands behind the member under the same name, and a byte order mark", () => {
    const refused = (kind: "list" | "object", text: string) =>
      assert.throws(() => readLargeJson(bytes(text), { name: "large", kind, take: () => {} }), NotJson, text);
    for (const second of ["[0]", "[]", "[0,1]", "{}", "0"]) refused("list", `{"large":[1,2],"large":${second}}`);
    for (const second of ['{"0":0}', "{}", '{"0":0,"1":1}', "[0]", "0"]) refused("object", `{"large":{"a":1},"large":${second}}`);
    const mark = "\ufeff";
    for (const text of [`{"large":[${mark}1]}`, `{"large":[1,${mark}2]}`, `{"large":[1]${mark}}`, `${mark}{"large":[1]}`, `${mark}{}`])
      refused("list", text);
    refused("object", `{"large":{"a":${mark}1}}`);
  });
});
