import assert from "node:assert/strict";
import fc from "fast-check";
import { parseHeader, SafetensorsError, type SafetensorsRule } from "../../src/model/safetensors.ts";
import { fragments, type Mutation, mutate, mutationKinds } from "./mutations.ts";

const entry = (dtype: string, shape: string, offsets: string) => `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;

/** Parses header text of a file that has `data` bytes after it. */
function parse(header: string | Uint8Array, data = 0) {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  return parseHeader(json, 8 + json.length + data, "some.safetensors");
}

function breaks(rule: SafetensorsRule, header: string | Uint8Array, data = 0): void {
  try {
    parse(header, data);
  } catch (error) {
    assert.ok(error instanceof SafetensorsError, `${error}`);
    assert.equal(error.rule, rule, error.message);
    assert.equal(error.file, "some.safetensors");
    assert.equal(error.code, "safetensors-invalid");
    assert.match(error.message, new RegExp(`^some\\.safetensors .*${rule}: `, "s"));
    return;
  }
  assert.fail(`${rule}: accepted ${header.slice(0, 200)}`);
}

describe("safetensors header", () => {
  it("reads what the format allows", () => {
    const header = ` {"a" : ${entry("F32", "[2, 1]", "[4, 12]")},\n"b\\n\\u0041\\ud83d\\ude00":${entry("U8", "[4]", "[0,4]")} , "s":${entry("BF16", "[]", "[12,14]")},`;
    const text = `${header.trim()}"e":${entry("I64", "[5,0]", "[4,4]")},"__metadata__":{"k":"v","":"","\\"":"\\\\"}}   `;
    const { tensors, metadata } = parse(text, 14);
    const start = 8 + new TextEncoder().encode(text).length;
    assert.deepEqual(
      [...tensors],
      [
        ["a", { dtype: "F32", shape: [2, 1], offset: start + 4, bytes: 8 }],
        ["b\nA😀", { dtype: "U8", shape: [4], offset: start, bytes: 4 }],
        ["s", { dtype: "BF16", shape: [], offset: start + 12, bytes: 2 }],
        ["e", { dtype: "I64", shape: [5, 0], offset: start + 4, bytes: 0 }],
      ],
    );
    assert.deepEqual(Object.fromEntries(metadata), { k: "v", "": "", '"': "\\" });
  });

  it("reads a header without tensors, and one with names that objects treat specially", () => {
    assert.equal(parse("{}").tensors.size, 0);
    assert.equal(parse('{"__metadata__":{}}').metadata.size, 0);
    const { tensors } = parse(`{"__proto__":${entry("U8", "[1]", "[0,1]")},"constructor":${entry("U8", "[1]", "[1,2]")}}`, 2);
    assert.deepEqual([...tensors.keys()], ["__proto__", "constructor"]);
  });

  const one = entry("U8", "[1]", "[0,1]");
  const broken: [SafetensorsRule, string, string | Uint8Array, number?][] = [
    ["header-start", "an empty header", ""],
    ["header-start", "a space first", ' {"a":1}'],
    ["header-start", "a list", "[]"],
    ["header-start", "a byte order mark", "\ufeff{}"],
    ["header-utf8", "a byte that is not UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)],
    ["header-utf8", "a surrogate in UTF-8", Uint8Array.of(0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x7d)],
    ["header-json", "an end in the middle", '{"a"'],
    ["header-json", "an unclosed object", `{"a":${one}`, 1],
    ["header-json", "an unclosed string", '{"a'],
    ["header-json", "a comma too many", `{"a":${one},}`, 1],
    ["header-json", "a missing colon", `{"a"${one}}`],
    ["header-json", "a key that is no string", `{a:${one}}`],
    ["header-json", "a raw control character in a string", `{"a\n":${one}}`],
    ["header-json", "an unknown escape", `{"\\x":${one}}`],
    ["header-json", "a lone surrogate", `{"\\ud800":${one}}`],
    ["header-padding", "a line feed after the end", "{}\n"],
    ["header-padding", "a second document", "{}{}"],
    ["header-padding", "zeros after the end", "{}\0"],
    ["duplicate-key", "a tensor twice", `{"a":${one},"a":${one}}`, 1],
    ["duplicate-key", "a tensor twice, once with an escape", `{"a":${one},"\\u0061":${one}}`, 1],
    ["duplicate-key", "metadata twice", '{"__metadata__":{},"__metadata__":{}}'],
    ["duplicate-key", "a metadata key twice", '{"__metadata__":{"a":"1","a":"1"}}'],
    ["duplicate-key", "a field twice", '{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1],
    ["metadata-strings", "metadata that is a list", '{"__metadata__":[]}'],
    ["metadata-strings", "metadata that is null", '{"__metadata__":null}'],
    ["metadata-strings", "a number in metadata", '{"__metadata__":{"a":1}}'],
    ["metadata-strings", "an object in metadata", '{"__metadata__":{"a":{}}}'],
    ["entry-fields", "a tensor that is a number", '{"a":1}'],
    ["entry-fields", "a tensor without dtype", '{"a":{"shape":[1],"data_offsets":[0,1]}}', 1],
    ["entry-fields", "a tensor without shape", '{"a":{"dtype":"U8","data_offsets":[0,1]}}', 1],
    ["entry-fields", "a tensor without offsets", '{"a":{"dtype":"U8","shape":[1]}}', 1],
    ["entry-fields", "a field that the format does not have", '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}', 1],
    ["dtype-unknown", "an unknown dtype", `{"a":${entry("F33", "[1]", "[0,4]")}}`, 4],
    ["dtype-unknown", "a dtype in lower case", `{"a":${entry("f32", "[1]", "[0,4]")}}`, 4],
    ["dtype-unknown", "a dtype that every object has", `{"a":${entry("toString", "[1]", "[0,4]")}}`, 4],
    ["dtype-unknown", "a dtype that is a number", '{"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}}', 1],
    ["shape-integers", "a negative dimension", `{"a":${entry("U8", "[-1]", "[0,1]")}}`, 1],
    ["shape-integers", "a fraction", `{"a":${entry("U8", "[1.0]", "[0,1]")}}`, 1],
    ["shape-integers", "an exponent", `{"a":${entry("U8", "[1e0]", "[0,1]")}}`, 1],
    ["shape-integers", "a leading zero", `{"a":${entry("U8", "[01]", "[0,1]")}}`, 1],
    ["shape-integers", "a string", `{"a":${entry("U8", '["1"]', "[0,1]")}}`, 1],
    ["shape-integers", "an integer that no double holds", `{"a":${entry("U8", "[9007199254740993]", "[0,1]")}}`, 1],
    ["shape-integers", "null for a shape", `{"a":${entry("U8", "null", "[0,1]")}}`, 1],
    ["shape-rank", "65 dimensions", `{"a":${entry("U8", `[${Array(65).fill(1)}]`, "[0,1]")}}`, 1],
    ["offsets-integers", "one offset", `{"a":${entry("U8", "[0]", "[0]")}}`],
    ["offsets-integers", "three offsets", `{"a":${entry("U8", "[1]", "[0,1,1]")}}`, 1],
    ["offsets-integers", "a negative offset", `{"a":${entry("U8", "[1]", "[-1,0]")}}`, 1],
    ["offsets-integers", "offsets as a string", `{"a":${entry("U8", "[1]", '"0,1"')}}`, 1],
    ["offsets-order", "an end before the begin", `{"a":${entry("U8", "[1]", "[1,0]")}}`, 1],
    ["offsets-beyond-data", "an end beyond the file", `{"a":${entry("U8", "[2]", "[0,2]")}}`, 1],
    ["size-mismatch", "more bytes than the shape", `{"a":${entry("F32", "[1]", "[0,8]")}}`, 8],
    ["size-mismatch", "fewer bytes than the shape", `{"a":${entry("F64", "[2]", "[0,8]")}}`, 8],
    ["size-mismatch", "bytes for an empty tensor", `{"a":${entry("F32", "[0]", "[0,4]")}}`, 4],
    ["size-overflow", "a shape beyond all integers", `{"a":${entry("U8", "[9007199254740991,9007199254740991]", "[0,1]")}}`, 1],
    ["size-overflow", "a shape whose bytes wrap to the right number", `{"a":${entry("U8", "[4294967296,4294967296,1]", "[0,0]")}}`],
    ["size-overflow", "half a byte", `{"a":${entry("F4", "[1]", "[0,1]")}}`, 1],
    ["overlap", "two tensors on the same bytes", `{"a":${one},"b":${one}}`, 1],
    ["overlap", "a tensor that begins inside another", `{"a":${entry("U8", "[3]", "[0,3]")},"b":${entry("U8", "[2]", "[2,4]")}}`, 4],
    ["overlap", "an empty tensor inside another", `{"a":${entry("U8", "[3]", "[0,3]")},"b":${entry("U8", "[0]", "[2,2]")}}`, 3],
    ["hole", "bytes before the first tensor", `{"a":${entry("U8", "[1]", "[1,2]")}}`, 2],
    ["hole", "bytes between tensors", `{"a":${one},"b":${entry("U8", "[1]", "[2,3]")}}`, 3],
    ["data-uncovered", "bytes after the last tensor", `{"a":${one}}`, 2],
    ["data-uncovered", "data without tensors", "{}", 1],
  ];
  for (const [rule, what, header, data] of broken) {
    it(`refuses ${what}: ${rule}`, () => breaks(rule, header, data));
  }

  it("accepts and refuses integers exactly at the edge", () => {
    assert.equal(parse(`{"a":${entry("U8", "[0,9007199254740991]", "[0,0]")}}`).tensors.size, 1);
    breaks("shape-integers", `{"a":${entry("U8", "[0,9007199254740992]", "[0,0]")}}`);
    const widest = `{"a":${entry("U8", `[${Array(64).fill(1)}]`, "[0,1]")}}`;
    assert.equal(parse(widest, 1).tensors.size, 1);
  });

  it("reads deep nesting and long lists without recursion or growth", () => {
    breaks("entry-fields", `{"a":${"[".repeat(200_000)}`);
    breaks("shape-rank", `{"a":{"shape":[${"1,".repeat(500_000)}1]}}`);
    breaks("entry-fields", `{"a":{"x":${'{"x":'.repeat(100_000)}`);
  });

  for (const [rule, member] of [
    ["too-many-tensors", (name: string) => `"${name}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`],
    ["too-many-strings", (name: string) => `"${name}":""`],
  ] as const) {
    it(`refuses ${rule}, before the memory for them is taken`, () => {
      const members = Array.from({ length: 500_001 }, (_, index) => member(index.toString(36))).join(",");
      breaks(rule, rule === "too-many-strings" ? `{"__metadata__":{${members}}}` : `{${members}}`);
    });
  }

  it("agrees with JSON.parse on everything it accepts, however the header is mutated", function () {
    this.timeout(60_000);
    const base = `{"__metadata__":{"format":"pt"},"model.a":${entry("F32", "[2,3]", "[0,24]")},"b\\"":${entry("BF16", "[4]", "[24,32]")},"c":${entry("U8", "[0]", "[32,32]")},"d":${entry("I8", "[8]", "[32,40]")}}  `;
    const seeds = new TextEncoder().encode(base);
    const mutation = fc.record<Mutation>({
      kind: fc.constantFrom(...mutationKinds),
      at: fc.nat(seeds.length - 1),
      value: fc.nat(255),
      fragment: fc.nat(fragments.length - 1),
      length: fc.nat(30),
    });
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), fc.integer({ min: -2, max: 2 }), (mutations, difference) => {
        const json = mutate(seeds, mutations);
        let parsed: ReturnType<typeof parseHeader>;
        try {
          parsed = parseHeader(json, 8 + json.length + 40 + (difference === 1 ? 1 : 0));
        } catch (error) {
          if (!(error instanceof SafetensorsError)) throw error;
          return;
        }
        accepted++;
        const document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
        const { __metadata__: metadata = {}, ...entries } = document;
        assert.deepEqual(Object.fromEntries(parsed.metadata), metadata);
        assert.deepEqual([...parsed.tensors.keys()].sort(), Object.keys(entries).sort());
        let covered = 0;
        for (const [name, tensor] of parsed.tensors) {
          const { dtype, shape, data_offsets: offsets } = entries[name];
          const start = 8 + json.length;
          assert.deepEqual(
            [tensor.dtype, tensor.shape, tensor.offset - start, tensor.offset - start + tensor.bytes],
            [dtype, shape, ...offsets],
          );
          covered += tensor.bytes;
        }
        assert.equal(covered, 40 + (difference === 1 ? 1 : 0));
      }),
      { numRuns: 6000 },
    );
    assert.ok(accepted > 0, "some mutations are harmless");
  });
});
