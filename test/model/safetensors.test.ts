import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { bytesOf, type Dtype, dtypes } from "../../src/model/dtype.ts";
import { readHeader, streamTensor, type TensorToWrite, writeSafetensors } from "../../src/model/safetensors.ts";
import { bytesOfHex, expected, failure, fixtures, inDirectory, independentRead, rawFile, writeFile } from "./support.ts";

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Uint8Array.from(Buffer.concat(all));
}

/** Delivers bytes in pieces of awkward sizes. */
async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 3) % 1009) yield bytes.subarray(at, at + size);
}

describe("safetensors files", () => {
  for (const [file, key] of [
    ["numpy.safetensors", "tensors"],
    ["small-floats.safetensors", "smallFloats"],
  ] as const) {
    const wanted = Object.entries(expected[key] as Record<string, { shape: number[]; data: string }>);

    it(`reads ${file} as the Python package wrote it`, async () => {
      const path = join(fixtures, file);
      const { tensors, metadata } = await readHeader(path);
      assert.equal(tensors.size, wanted.length);
      for (const [name, { shape, data }] of wanted) {
        const entry = tensors.get(name);
        assert.ok(entry, name);
        assert.deepEqual(entry.shape, shape);
        assert.deepEqual(await collect(streamTensor(path, entry)), bytesOfHex(data), name);
      }
      if (key === "tensors") assert.deepEqual([...metadata], [["made by", "the safetensors package"]]);
    });

    it(`writes the very bytes of ${file}, in whatever order the tensors come`, async () => {
      await inDirectory(async (directory) => {
        const { tensors, metadata } = await readHeader(join(fixtures, file));
        const list = wanted.map(([name, { shape, data }]): TensorToWrite => {
          const dtype = tensors.get(name)?.dtype as Dtype;
          return { name, dtype, shape, data: shape.length === 1 ? bytesOfHex(data) : () => inPieces(bytesOfHex(data)) };
        });
        const path = join(directory, "written.safetensors");
        const seen: Uint8Array[] = [];
        const written = await writeSafetensors(path, list.reverse(), Object.fromEntries(metadata), (bytes) =>
          seen.push(Uint8Array.from(bytes)),
        );
        const golden = readFileSync(join(fixtures, file));
        assert.deepEqual(readFileSync(path), golden);
        assert.equal(written.bytes, golden.length);
        assert.deepEqual(Buffer.concat(seen), golden, "the observer sees what is written");
        for (const [name, location] of written.tensors) {
          assert.deepEqual(await collect(streamTensor(location.file, location)), bytesOfHex(expected[key][name].data), name);
        }
      });
    });
  }

  it("reads back what it wrote, for any tensors and metadata", async () => {
    const tensor = fc.record({
      dtype: fc.constantFrom(...dtypes.filter((dtype) => !dtype.startsWith("F4") && !dtype.startsWith("F6"))),
      shape: fc.array(fc.nat(4), { maxLength: 4 }),
    });
    const name = fc.string({ unit: "grapheme" }).filter((text) => text !== "__metadata__");
    await inDirectory(async (directory) => {
      await fc.assert(
        fc.asyncProperty(
          fc.dictionary(name, tensor, { maxKeys: 8 }),
          fc.dictionary(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" })),
          async (specs, metadata) => {
            const list = Object.entries(specs).map(([name, { dtype, shape }], index) => {
              const data = new Uint8Array(bytesOf(dtype, shape) as number).map((_, at) => at * 7 + index);
              return { name, dtype, shape, data };
            });
            const path = join(directory, "any.safetensors");
            await writeSafetensors(path, list, metadata);
            const read = await readHeader(path);
            assert.deepEqual(new Map(read.metadata), new Map(Object.entries(metadata)));
            assert.equal(read.tensors.size, list.length);
            const independent = independentRead(path);
            for (const { name, dtype, shape, data } of list) {
              const entry = read.tensors.get(name);
              assert.deepEqual({ dtype: entry?.dtype, shape: entry?.shape }, { dtype, shape });
              assert.deepEqual(independent.tensors[name], { dtype, shape, data });
            }
            assert.equal(readFileSync(path).readBigUInt64LE(0) % 8n, 0n, "the data is aligned");
          },
        ),
        { numRuns: 60 },
      );
    });
  });

  it("refuses files whose header cannot be, before any memory is taken for it", async () => {
    await inDirectory(async (directory) => {
      const header = '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}';
      const cases: [string, Uint8Array][] = [
        ["file-shorter-than-length", new Uint8Array(0)],
        ["file-shorter-than-length", new Uint8Array(7)],
        ["header-beyond-file", rawFile(header, Uint8Array.of(1), 99_999_999n)],
        ["header-beyond-file", rawFile("{}", new Uint8Array(), 3n)],
        ["header-over-limit", rawFile(header, Uint8Array.of(1), 100_000_001n)],
        ["header-over-limit", rawFile(header, Uint8Array.of(1), 2n ** 63n + 58n)],
        ["header-over-limit", rawFile(header, Uint8Array.of(1), 2n ** 64n - 1n)],
        ["header-start", rawFile("", new Uint8Array(3))],
        ["data-uncovered", rawFile(header, new Uint8Array(2))],
        ["offsets-beyond-data", rawFile(header)],
      ];
      for (const [rule, bytes] of cases) {
        const path = writeFile(directory, "broken.safetensors", bytes);
        await assert.rejects(readHeader(path), failure("safetensors-invalid", { rule, file: path, exit: 13 }), rule);
      }
      const pointer = writeFile(
        directory,
        "pointer.safetensors",
        Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
      );
      await assert.rejects(readHeader(pointer), { rule: "header-over-limit", message: /pointer of Git LFS/ });
      // A huge file that claims the longest header that is allowed to a caller with a smaller limit.
      const path = writeFile(directory, "huge.safetensors", rawFile("{}", new Uint8Array(), 90_000_000n));
      truncateSync(path, 3 * 2 ** 30);
      await assert.rejects(readHeader(path, 1 << 20), failure("safetensors-invalid", { rule: "header-over-limit" }));
    });
  });

  it("refuses every truncation of a good file", async () => {
    await inDirectory(async (directory) => {
      const golden = readFileSync(join(fixtures, "small-floats.safetensors"));
      for (let length = 0; length < golden.length; length++) {
        const path = writeFile(directory, "cut.safetensors", golden.subarray(0, length));
        await assert.rejects(readHeader(path), failure("safetensors-invalid"), `${length} bytes`);
      }
    });
  });

  it("leaves the old file and no litter when a tensor delivers too little, too much, or breaks", async () => {
    await inDirectory(async (directory) => {
      const path = writeFile(directory, "model.safetensors", "old");
      const tensor = (data: TensorToWrite["data"]) => [{ name: "a", dtype: "F32", shape: [2], data }] as const;
      await assert.rejects(writeSafetensors(path, tensor(new Uint8Array(7))), failure("tensor-length"));
      await assert.rejects(writeSafetensors(path, tensor(new Uint8Array(9))), failure("tensor-length"));
      await assert.rejects(
        writeSafetensors(
          path,
          tensor(() => [new Uint8Array(4)]),
        ),
        failure("tensor-length"),
      );
      const breaks = async function* () {
        yield new Uint8Array(4);
        throw new Error("the source broke");
      };
      await assert.rejects(writeSafetensors(path, tensor(breaks)), /the source broke/);
      assert.equal(readFileSync(path, "utf8"), "old");
      assert.deepEqual(readdirSync(directory), ["model.safetensors"]);
    });
  });

  it("stops reading a source that delivers without end", async () => {
    await inDirectory(async (directory) => {
      let delivered = 0;
      const endless = function* () {
        for (;;) {
          delivered++;
          yield new Uint8Array(1024);
        }
      };
      const tensor = { name: "a", dtype: "U8", shape: [10_000], data: endless } as const;
      await assert.rejects(writeSafetensors(join(directory, "x"), [tensor]), failure("tensor-length"));
      assert.equal(delivered, 10);
    });
  });

  it("will not write what could not be read", async () => {
    await inDirectory(async (directory) => {
      const path = join(directory, "x");
      const a: TensorToWrite = { name: "a", dtype: "U8", shape: [1], data: new Uint8Array(1) };
      await assert.rejects(writeSafetensors(path, [a, a]), TypeError);
      await assert.rejects(writeSafetensors(path, [{ ...a, name: "__metadata__" }]), TypeError);
      await assert.rejects(writeSafetensors(path, [{ ...a, dtype: "F4" }]), TypeError);
      await assert.rejects(writeSafetensors(join(directory, "no", "x"), [a]), failure("file-missing"));
      mkdirSync(join(directory, "taken"));
      writeFileSync(join(directory, "taken", "file"), "");
      await assert.rejects(writeSafetensors(join(directory, "taken"), [a]), failure("file-irregular"));
      assert.deepEqual(readdirSync(directory), ["taken"]);
    });
  });
});
