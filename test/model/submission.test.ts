import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { codecNamed, codecs } from "../../src/model/codecs/index.ts";
import { bytesOf, fromFloat32 } from "../../src/model/dtype.ts";
import { type TensorToWrite, writeSafetensors } from "../../src/model/safetensors.ts";
import {
  artifactRootOfFile,
  decodeSubmission,
  encodeSubmission,
  SubmissionError,
  type SubmissionExpectations,
  submissionBytes,
} from "../../src/model/submission.ts";
import { artifactRoot } from "../../src/protocol/artifact.ts";
import { placesSeed } from "../../src/protocol/places.ts";
import { expected, failure, fixtures, floatsOfHex, inDirectory, rawFile, someFloats, writeFile } from "./support.ts";

const golden = expected.submissions as {
  metadata: SubmissionExpectations["metadata"];
  shapes: Record<string, number[]>;
  deltas: Record<string, string>;
} & Record<"dense-bf16" | "block-int8", Record<string, string>>;

const tensors = Object.entries(golden.shapes).map(([name, shape]) => ({ name, shape }));
const deltas = tensors.map(({ name, shape }) => ({ name, shape, delta: floatsOfHex(golden.deltas[name] as string) }));
const { metadata } = golden;
const expectations = (codec: string): SubmissionExpectations => ({ metadata, codec, tensors, maximumBytes: 100_000 });

interface Parts {
  readonly tensors: TensorToWrite[];
  readonly metadata: Record<string, string>;
}

/** A submission that is right, as what it is written of: a test changes one thing. */
function parts(codecName: string): Parts {
  const codec = codecs.find((one) => one.name === codecName);
  assert.ok(codec);
  return {
    tensors: deltas.flatMap(({ name, shape, delta }) => {
      const encoded = codec.encode(delta, placesSeed(metadata, name));
      return codec.parts(name, shape).map((part, index) => ({ ...part, data: encoded[index] as Uint8Array }));
    }),
    metadata: { format: "connito/submission/1", task: metadata.task, cycle: "7", group: "1", base: metadata.base, codec: codecName },
  };
}

/** A type of the same width for each that a codec stores its first part in. */
const anotherOf: Partial<Record<string, "F16" | "U8" | "I8">> = { BF16: "F16", I8: "U8", U8: "I8" };

function reshaped(good: Parts, change: (shape: readonly number[]) => number[]): Parts {
  const [first, ...rest] = good.tensors as [TensorToWrite, ...TensorToWrite[]];
  return { ...good, tensors: [{ ...first, shape: change(first.shape) }, ...rest] };
}

/** With a first tensor of so many values, as its header tells truly. */
function resized(good: Parts, values: number): Parts {
  const [first, ...rest] = good.tensors as [TensorToWrite, ...TensorToWrite[]];
  const data = new Uint8Array(bytesOf(first.dtype, [values]) as number);
  return { ...good, tensors: [{ ...first, shape: [values], data }, ...rest] };
}

async function refused(path: string, status: "malformed" | "non-finite", codec: string, named: string | RegExp): Promise<void> {
  await assert.rejects(decodeSubmission(path, expectations(codec)), (error: unknown) => {
    assert.ok(error instanceof SubmissionError, `${error}`);
    assert.equal(error.status, status, error.message);
    assert.equal(error.code, `submission-${status}`);
    assert.match(error.message, new RegExp(named));
    return true;
  });
}

describe("submission", () => {
  for (const codec of ["dense-bf16", "block-int8"] as const) {
    it(`in ${codec} is the very file that the Python packages write, and is read as they read it`, () =>
      inDirectory(async (directory) => {
        const path = join(directory, "submission");
        const artifact = await encodeSubmission({ path, metadata, codec, tensors: deltas });
        const file = readFileSync(join(fixtures, `${codec}.submission`));
        assert.deepEqual(readFileSync(path), file);
        assert.deepEqual(artifact, { root: artifactRoot(file), bytes: file.length });
        assert.deepEqual(await artifactRootOfFile(path), artifact);
        const read = await decodeSubmission(join(fixtures, `${codec}.submission`), expectations(codec));
        assert.deepEqual(
          [...read.keys()],
          tensors.map(({ name }) => name),
        );
        for (const [name, values] of read) assert.deepEqual(values, floatsOfHex(golden[codec][name] as string), name);
      }));

    it(`in ${codec} has the same bytes whatever the order of its tensors`, () =>
      inDirectory(async (directory) => {
        const roots = [];
        for (const list of [deltas, deltas.toReversed()]) {
          roots.push(await encodeSubmission({ path: join(directory, "s"), metadata, codec, tensors: list }));
        }
        assert.deepEqual(roots[0], roots[1]);
      }));

    it(`in ${codec} with NaN or infinity anywhere is non-finite`, () =>
      inDirectory(async (directory) => {
        const bads = codec === "dense-bf16" ? [0x7fc0, 0x7f80, 0xff80, 0xffff] : [0x7fc00000, 0x7f800000, 0xff800000, 0x7f7fffff];
        for (const bad of bads) {
          for (const place of ["first", "last"]) {
            const { tensors, metadata } = parts(codec);
            const carrier = tensors.findLastIndex((one) => one.dtype === (codec === "dense-bf16" ? "BF16" : "F32"));
            const one = tensors[carrier] as TensorToWrite;
            const width = codec === "dense-bf16" ? 2 : 4;
            const data = Uint8Array.from(one.data as Uint8Array);
            const at = place === "first" ? 0 : data.length - width;
            new DataView(data.buffer)[width === 2 ? "setUint16" : "setUint32"](at, bad, true);
            tensors[carrier] = { ...one, data };
            const path = join(directory, "s");
            await writeSafetensors(path, tensors, metadata);
            await refused(path, "non-finite", codec, one.name.replace(/\.scales$/, ""));
          }
        }
      }));

    it(`in ${codec}, cut short anywhere or grown, is malformed`, () =>
      inDirectory(async (directory) => {
        const whole = readFileSync(join(fixtures, `${codec}.submission`));
        for (let length = 0; length < whole.length; length += 37) {
          await refused(writeFile(directory, "s", whole.subarray(0, length)), "malformed", codec, /./);
        }
        await refused(writeFile(directory, "s", Buffer.concat([whole, new Uint8Array(1)])), "malformed", codec, "data-uncovered");
      }));

    it(`in ${codec}, with any bytes of its header changed, is refused or says the same`, () =>
      inDirectory(async (directory) => {
        const whole = readFileSync(join(fixtures, `${codec}.submission`));
        const good = await decodeSubmission(join(fixtures, `${codec}.submission`), expectations(codec));
        const headerEnd = 8 + Number(whole.readBigUInt64LE(0));
        await fc.assert(
          fc.asyncProperty(fc.array(fc.tuple(fc.nat(headerEnd - 1), fc.nat(255)), { minLength: 1, maxLength: 3 }), async (changes) => {
            const bytes = Uint8Array.from(whole);
            for (const [at, value] of changes) bytes[at] = value;
            const path = writeFile(directory, "s", bytes);
            try {
              // Exchanging two tensors' offsets needs more than three bytes, so what is still accepted is the same.
              assert.deepEqual(await decodeSubmission(path, expectations(codec)), good);
            } catch (error) {
              assert.ok(error instanceof SubmissionError, `${error}`);
              assert.equal(error.status, "malformed");
            }
          }),
          { numRuns: 700 },
        );
      }));
  }

  for (const codec of codecs.map(({ name }) => name)) {
    const hostile: [string, string, (good: Parts) => Parts][] = [
      ["a missing tensor", "is missing", (good) => ({ ...good, tensors: good.tensors.slice(1) })],
      ["no tensors", "is missing", (good) => ({ ...good, tensors: [] })],
      [
        "an extra tensor",
        '"extra" was not to be in it',
        (good) => ({ ...good, tensors: [...good.tensors, { name: "extra", dtype: "F32", shape: [1], data: new Uint8Array(4) }] }),
      ],
      [
        "an empty extra tensor",
        '"extra" was not to be in it',
        (good) => ({ ...good, tensors: [...good.tensors, { name: "extra", dtype: "F32", shape: [0], data: new Uint8Array(0) }] }),
      ],
      [
        "another expert's tensor",
        "is missing",
        (good) => ({ ...good, tensors: good.tensors.map((one) => ({ ...one, name: one.name.replace("experts.1.", "experts.2.") })) }),
      ],
      ["a transposed tensor", "is \\[.*\\], not \\[", (good) => reshaped(good, (shape) => [...shape.toReversed(), 1])],
      [
        "a flattened tensor",
        "is \\[.*\\], not \\[",
        (good) => reshaped(good, (shape) => [1, shape.reduce((product, side) => product * side, 1)]),
      ],
      ["a tensor that is longer", "is \\[.*\\], not \\[", (good) => resized(good, 40_000)],
      ["a tensor that is shorter", "is \\[.*\\], not \\[", (good) => resized(good, 1)],
      ["a tensor of nothing", "is \\[.*\\], not \\[", (good) => resized(good, 0)],
      [
        "a tensor of another type",
        "is (F16, not BF16|U8, not I8|I8, not U8)",
        (good) => ({
          ...good,
          tensors: good.tensors.map((one) => ({ ...one, dtype: anotherOf[one.dtype] ?? one.dtype })),
        }),
      ],
      [
        "fp32 where few bytes were agreed",
        "not (BF16|I8|U8)",
        (good) => ({
          ...good,
          tensors: deltas.map(({ name, shape, delta }) => ({ name, shape, dtype: "F32" as const, data: fromFloat32("F32", delta) })),
        }),
      ],
      ["no metadata", "metadata format", (good) => ({ ...good, metadata: {} })],
      ["metadata of more", 'metadata has "note"', (good) => ({ ...good, metadata: { ...good.metadata, note: "x" } })],
      ...(["format", "task", "cycle", "group", "base", "codec"] as const).flatMap((key): [string, string, (good: Parts) => Parts][] => [
        [`another ${key}`, `metadata ${key}`, (good) => ({ ...good, metadata: { ...good.metadata, [key]: `${good.metadata[key]}0` } })],
        [
          `no ${key}`,
          `metadata ${key}`,
          (good) => ({ ...good, metadata: Object.fromEntries(Object.entries(good.metadata).filter(([name]) => name !== key)) }),
        ],
      ]),
      ["a cycle in another spelling", "metadata cycle", (good) => ({ ...good, metadata: { ...good.metadata, cycle: "07" } })],
    ];
    for (const [what, named, change] of hostile) {
      it(`in ${codec} with ${what} is malformed`, () =>
        inDirectory(async (directory) => {
          const path = join(directory, "s");
          const { tensors, metadata } = change(parts(codec));
          await writeSafetensors(path, tensors, metadata);
          await refused(path, "malformed", codec, named);
        }));
    }
  }

  for (const codec of ["signs-10"]) {
    it(`in ${codec} is read as its encoding says, and malformed where no delta is encoded so`, () =>
      inDirectory(async (directory) => {
        const path = join(directory, "s");
        const artifact = await encodeSubmission({ path, metadata, codec, tensors: deltas });
        assert.ok(artifact.bytes < readFileSync(join(fixtures, "block-int8.submission")).length);
        const read = await decodeSubmission(path, expectations(codec));
        for (const { name, delta } of deltas) {
          const known = codecNamed(codec);
          const seed = placesSeed(metadata, name);
          assert.deepEqual(read.get(name), known.decode(known.encode(delta, seed), delta.length, seed));
        }
        const { tensors, metadata: strings } = parts(codec);
        const first = tensors[0] as TensorToWrite;
        for (const [change, status] of [
          [(bytes: Uint8Array) => bytes.fill(0xff, 1, 2), "malformed"],
          [(bytes: Uint8Array) => bytes.fill(0x7f, 1, 2).fill(0x80, 0, 1), "non-finite"],
        ] as const) {
          const data = change(Uint8Array.from(first.data as Uint8Array));
          await writeSafetensors(path, [{ ...first, data }, ...tensors.slice(1)], strings);
          await refused(path, status, codec, first.name);
        }
      }));
  }

  it("takes the bytes that were told before, but for the digits of its cycle and group", () =>
    inDirectory(async (directory) => {
      for (const { name: codec } of codecs) {
        const { bytes } = await encodeSubmission({ path: join(directory, "s"), metadata, codec, tensors: deltas });
        const told = submissionBytes(codec, tensors);
        assert.ok(told >= bytes && told - bytes <= 16, `${codec}: ${told} for ${bytes}`);
      }
    }));

  it("in another codec than the task's is malformed", async () => {
    await refused(join(fixtures, "block-int8.submission"), "malformed", "dense-bf16", "metadata codec");
    await refused(join(fixtures, "dense-bf16.submission"), "malformed", "block-int8", "metadata codec");
  });

  it("that is too large is refused by its length, and a long header by the length it claims", () =>
    inDirectory(async (directory) => {
      const path = join(directory, "s");
      writeFileSync(path, readFileSync(join(fixtures, "dense-bf16.submission")));
      const { size } = { size: readFileSync(path).length };
      await decodeSubmission(path, { ...expectations("dense-bf16"), maximumBytes: size });
      await assert.rejects(
        decodeSubmission(path, { ...expectations("dense-bf16"), maximumBytes: size - 1 }),
        failure("submission-malformed"),
      );
      truncateSync(path, 2 ** 40);
      await refused(path, "malformed", "dense-bf16", "oversize");
      // Within maximumBytes, but nothing that the expected tensors need: not even read.
      const claims = rawFile(`{${" ".repeat(99_000)}}`);
      await refused(writeFile(directory, "s", claims), "malformed", "dense-bf16", "header-over-limit");
    }));

  it("with a tensor twice, or hidden in a second header, is malformed", () =>
    inDirectory(async (directory) => {
      const whole = readFileSync(join(fixtures, "dense-bf16.submission"));
      const end = 8 + Number(whole.readBigUInt64LE(0));
      const header = whole.subarray(8, end).toString("utf8").trimEnd();
      const name = tensors[0]?.name as string;
      const entry = header.match(new RegExp(`"${name.replaceAll(".", "\\.")}":\\{[^}]*\\}`))?.[0] as string;
      const twice = `${header.slice(0, -1)},${entry}}`;
      await refused(writeFile(directory, "s", rawFile(twice, whole.subarray(end))), "malformed", "dense-bf16", "duplicate-key");
      await refused(writeFile(directory, "s", rawFile(header + header, whole.subarray(end))), "malformed", "dense-bf16", "header-padding");
    }));

  it("is not blamed for trouble that is the reader's own", () =>
    inDirectory(async (directory) => {
      const read = (path: string, changes = {}) => decodeSubmission(path, { ...expectations("dense-bf16"), ...changes });
      await assert.rejects(read(join(directory, "none")), failure("file-missing"));
      mkdirSync(join(directory, "folder"));
      await assert.rejects(read(join(directory, "folder")), failure("file-irregular"));
      await assert.rejects(read(join(fixtures, "dense-bf16.submission"), { codec: "other" }), failure("unknown-codec"));
    }));

  it("is not written when a delta is not finite, or would not be once encoded", () =>
    inDirectory(async (directory) => {
      const path = join(directory, "s");
      const one = { name: "a", shape: [3] };
      for (const [codec, values] of [
        ["dense-bf16", [1, Number.NaN, 2]],
        ["dense-bf16", [1, 3.4028234e38, 2]],
        ["block-int8", [Number.POSITIVE_INFINITY, 0, 0]],
        ["block-int8", [0, 0, Number.NaN]],
      ] as const) {
        const tensors = [{ ...one, delta: Float32Array.from(values) }];
        await assert.rejects(
          encodeSubmission({ path, metadata, codec, tensors }),
          failure("submission-non-finite", { status: "non-finite" }),
        );
      }
      const short = [{ ...one, delta: someFloats(1, 2) }];
      await assert.rejects(encodeSubmission({ path, metadata, codec: "dense-bf16", tensors: short }), RangeError);
      assert.ok(!existsSync(path));
    }));
});
