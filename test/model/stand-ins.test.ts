import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { elementsOf, fromFloat32, fromHalf } from "../../src/model/dtype.ts";
import { indexCheckpoint } from "../../src/model/index-checkpoint.ts";
import { initializeCheckpoint } from "../../src/model/initialize.ts";
import { makeStandIns, makeStandInsByUse } from "../../src/model/make-stand-ins.ts";
import { createManifest, manifestRoot } from "../../src/model/manifest.ts";
import { bytesOfPiece, type Piece } from "../../src/model/pieces.ts";
import { dequantize, quantize } from "../../src/model/stand-ins.ts";
import { sha256, toHex } from "../../src/protocol/hash.ts";
import { expected, failure, floatsOfHex, inDirectory, locateIn, someFloats, tinyConfig } from "./support.ts";

describe("stand-ins", () => {
  for (const { shape, values, bytes } of expected.standIns as { shape: number[]; values: string; bytes: string }[]) {
    it(`has the bytes for [${shape}] that another implementation of the rule makes`, () => {
      assert.equal(Buffer.from(quantize(floatsOfHex(values), shape)).toString("hex"), bytes);
      assert.equal(bytesOfPiece("Q4_32", shape), bytes.length / 2);
    });
  }

  const tensor = fc
    .array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 3 })
    .filter((shape) => (elementsOf(shape) as number) <= 3000)
    .chain((shape) =>
      fc.tuple(
        fc.constant(shape),
        fc.integer({ min: -120, max: 90 }),
        fc.array(fc.float({ min: -1, max: 1, noNaN: true }), {
          minLength: elementsOf(shape) as number,
          maxLength: elementsOf(shape) as number,
        }),
      ),
    );

  it("is at most half a step off, whatever the tensor, and the same each time", () => {
    fc.assert(
      fc.property(tensor, ([shape, power, unit]) => {
        const values = Float32Array.from(unit, (value) => value * 2 ** power);
        const bytes = quantize(values, shape);
        assert.deepEqual(quantize(values.slice(), shape), bytes);
        const back = dequantize(bytes, shape);
        const columns = shape.at(-1) as number;
        for (let start = 0; start < values.length; start++) {
          const column = start % columns;
          const first = start - (column % 32);
          const run = values.subarray(first, Math.min(first + 32, start - column + columns));
          const largest = run.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          const error = Math.abs((values[start] as number) - (back[start] as number));
          // Half a step; fp16 rounds the step by 2^-11, or 2^-25 where it is subnormal, which counts seven times at the edge.
          const step = largest / 7;
          const rounded = Math.max(step * 2 ** -11, 2 ** -25);
          const bound = step > 65_504 ? largest : (step + rounded) / 2 + 7 * rounded;
          assert.ok(error <= bound * (1 + 1e-6), `${values[start]} became ${back[start]}`);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("keeps zeros and signs, saturates, and gives up on what fp16 cannot scale", () => {
    assert.deepEqual([...dequantize(quantize(new Float32Array(5), [5]), [5])], [0, 0, 0, 0, 0]);
    assert.deepEqual([...dequantize(quantize(Float32Array.of(7, -7, 3.4, -0.4), [4]), [4])], [7, -7, 3, 0]);
    assert.deepEqual([...dequantize(quantize(Float32Array.of(1e38, -1e38, 1e5), [3]), [3])], [7 * 65_504, -7 * 65_504, 2 * 65_504]);
    assert.deepEqual([...dequantize(quantize(Float32Array.of(1e-9, -1e-9), [2]), [2])], [0, 0]);
  });

  it("rounds halves to even", () => {
    assert.deepEqual([...dequantize(quantize(Float32Array.of(7, 0.5, 1.5, 2.5, -0.5, -1.5), [6]), [6])], [7, 0, 2, 2, 0, -2]);
  });

  it("lays rows out to whole bytes, nibbles before scales, the low one first", () => {
    const bytes = quantize(Float32Array.of(7, 1, -2, 14, 2, -4), [2, 3]);
    assert.deepEqual([...bytes.subarray(0, 4)], [0x9f, 0x06, 0x9f, 0x06]);
    assert.deepEqual(
      [1, 2].map((_, row) => fromHalf((bytes[4 + 2 * row] as number) | ((bytes[5 + 2 * row] as number) << 8))),
      [1, 2],
    );
  });

  it("refuses values that do not fit the shape, bytes that do not, and what is not finite", () => {
    assert.throws(() => quantize(new Float32Array(5), [2, 3]), RangeError);
    assert.throws(() => quantize(Float32Array.of(Number.NaN), [1]), RangeError);
    assert.throws(() => quantize(Float32Array.of(Number.POSITIVE_INFINITY), [1]), RangeError);
    assert.throws(() => dequantize(new Uint8Array(3), [2, 3]), RangeError);
  });

  const shape = [3, 40];
  const values = [1, 2].map((seed) => someFloats(seed, 120));
  const objects = new Map<string, Uint8Array>();
  const pieces = values.map((one, index): Piece => {
    const bytes = fromFloat32(index === 0 ? "F32" : "BF16", one);
    const hash = toHex(sha256(bytes));
    objects.set(hash, bytes);
    const name = `model.layers.0.mlp.experts.${index}.up_proj.weight`;
    return { role: "expert", name, dtype: index === 0 ? "F32" : "BF16", shape, bytes: bytes.length, hash, layer: 0, expert: index };
  });
  const other = toHex(sha256(Uint8Array.of(1)));
  const manifest = createManifest(other, other, [
    ...pieces,
    { role: "backbone", name: "b", dtype: "F32", shape: [1], bytes: 4, hash: other },
    { ...(pieces[0] as Piece), role: "momentum", hash: other },
  ]);

  it("are made of every expert and nothing else, and named by their own root", () =>
    inDirectory(async (directory) => {
      const stored = new Map<string, Uint8Array>();
      const progress: number[][] = [];
      const options = {
        manifest,
        locate: locateIn(directory, objects),
        store: async (bytes: Uint8Array, hash: string) => stored.set(hash, bytes),
      };
      const standIns = await makeStandIns({ ...options, onProgress: (...step) => progress.push(step) });
      assert.deepEqual(
        standIns.pieces.map((piece) => [piece.role, piece.name, piece.dtype, piece.shape, piece.layer, piece.expert]),
        pieces.map((piece) => ["stand-in", piece.name, "Q4_32", shape, piece.layer, piece.expert]),
      );
      for (const piece of standIns.pieces) {
        const bytes = stored.get(piece.hash);
        assert.equal(toHex(sha256(bytes ?? new Uint8Array())), piece.hash);
        assert.equal(bytes?.length, piece.bytes);
      }
      assert.deepEqual(
        Buffer.from(stored.get(standIns.pieces[0]?.hash ?? "") ?? []),
        Buffer.from(quantize(values[0] as Float32Array, shape)),
      );
      assert.deepEqual(progress, [
        [480, 720],
        [720, 720],
      ]);
      assert.equal(manifestRoot(await makeStandIns(options)), manifestRoot(standIns));
    }));

  it("are made by use of what an expert is given, and not of what is not finite", () =>
    inDirectory(async (directory) => {
      const base = await initializeCheckpoint({ directory: join(directory, "base"), config: tinyConfig, seed: "moments" });
      const { manifest, locations } = await indexCheckpoint(base);
      const { architecture } = base;
      const [layer, ...further] = architecture.expertLayers;
      const make = async (given: number) => {
        const [hidden, inside] = [architecture.hiddenSize, Number(tinyConfig.moe_intermediate_size)];
        const one = { input: [new Float32Array(hidden ** 2).fill(given)], inner: [new Float32Array(inside ** 2)] };
        const experts = Array.from({ length: architecture.experts }, () => one);
        const stored = new Map<string, number>();
        const { pieces } = await makeStandInsByUse(
          {
            manifest: createManifest(
              manifest.config,
              manifest.tokenizer,
              manifest.pieces.filter((piece) => !further.includes(piece.layer ?? -1)),
            ),
            locate: (hash: string) => locations.get(hash),
            store: async (bytes, hash) => stored.set(hash, bytes.length),
          },
          {
            architecture,
            allotted: [{ layer: layer as number, bits: [2, 3, 4] }],
            layers: (async function* () {
              yield { layer: layer as number, experts };
            })(),
          },
        );
        return pieces.map(({ expert, dtype, hash, bytes }) => {
          assert.equal(stored.get(hash), bytes);
          return { expert, dtype, hash };
        });
      };
      const [plain, fed] = [await make(0), await make(1)];
      assert.deepEqual([...new Set(plain.map(({ expert, dtype }) => `${expert} ${dtype}`))].sort().slice(0, 4), [
        "0 Q2_64",
        "1 Q3_64",
        "2 Q4_64",
        "3 Q0_64",
      ]);
      assert.ok(fed.some(({ hash }, at) => hash !== plain[at]?.hash));
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) await assert.rejects(make(bad), failure("moments-non-finite"));
    }));

  it("are not made of what is missing, not a number or unreadable", () =>
    inDirectory(async (directory) => {
      const make = (manifest: Parameters<typeof makeStandIns>[0]["manifest"], from = objects) =>
        makeStandIns({ manifest, locate: locateIn(directory, from), store: async () => {} });
      await assert.rejects(make(manifest, new Map()), failure("piece-missing"));
      const bad = fromFloat32("F32", Float32Array.of(Number.NaN));
      const hash = toHex(sha256(bad));
      const piece: Piece = { ...(pieces[0] as Piece), shape: [1], bytes: 4, hash };
      await assert.rejects(make(createManifest(other, other, [piece]), new Map([[hash, bad]])), failure("stand-in-non-finite"));
      const opaque: Piece = { ...piece, dtype: "I32" };
      await assert.rejects(make(createManifest(other, other, [opaque]), new Map([[hash, bad]])), failure("dtype-unsupported"));
      const lie = new Map([[pieces[0]?.hash ?? "", new Uint8Array(480)]]);
      await assert.rejects(make(createManifest(other, other, pieces.slice(0, 1)), lie), failure("piece-mismatch"));
    }));
});
