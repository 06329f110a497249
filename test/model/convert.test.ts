import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Checkpoint, openCheckpoint, type StoredTensor } from "../../src/model/checkpoint.ts";
import { convertCheckpoint } from "../../src/model/convert.ts";
import { fromFloat32, toFloat32 } from "../../src/model/dtype.ts";
import { isPacked, whyNotComputable } from "../../src/model/families/index.ts";
import { unpackFp8, unpackMxfp4 } from "../../src/model/packed.ts";
import { bytesOfTensor, type SmallModel, smallModels, writeSmallModel } from "./families/goldens.ts";
import { failure, inDirectory } from "./support.ts";

/** Made with PyTorch and transformers by scripts/goldens/packed.py. */
const golden = JSON.parse(readFileSync(join(import.meta.dirname, "packed.json"), "utf8"));
const modelNamed = (part: string) => smallModels().find(({ name }) => name.includes(part)) as SmallModel;
const bytesIn = (model: SmallModel, name: string) => bytesOfTensor(name, model.tensors[name] as SmallModel["tensors"][string]);

function stored(checkpoint: Checkpoint, name: string): Uint8Array {
  const { file, offset, bytes } = checkpoint.tensors.get(name) as StoredTensor;
  return readFileSync(file).subarray(offset, offset + bytes);
}

/** Writes the model, converts it, and opens both. */
function converted(model: SmallModel, use: (before: Checkpoint, after: Checkpoint) => void | Promise<void>): Promise<void> {
  return inDirectory(async (directory) => {
    await writeSmallModel(join(directory, "packed"), model);
    const before = await openCheckpoint(join(directory, "packed"));
    assert.ok(isPacked(before.architecture));
    const { files } = await convertCheckpoint(before, { directory: join(directory, "plain"), maximumShardBytes: 20_000 });
    assert.ok(files > 1);
    const after = await openCheckpoint(join(directory, "plain"));
    assert.ok(!isPacked(after.architecture));
    assert.deepEqual(whyNotComputable(after.architecture), []);
    await use(before, after);
  });
}

describe("model/convert", () => {
  it("reads every FP8 byte as PyTorch does, times the scale of its block", () => {
    const codes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    const expected = Float32Array.from(golden.fp8, (value) => (value === "NaN" ? Number.NaN : (value as number)));
    assert.deepEqual(unpackFp8(codes, 256, Float32Array.of(1), 256), expected);
    // Two rows of 128 in blocks of 100 columns: the last block is short.
    const scaled = unpackFp8(codes, 128, Float32Array.of(0.3, -7), 100);
    assert.deepEqual(
      scaled,
      expected.map((value, at) => value * Math.fround(at % 128 < 100 ? 0.3 : -7)),
    );
  });

  it("reads MXFP4 blocks as transformers does", () => {
    const { rows, blocks, scales, values } = golden.mxfp4;
    for (const expert of blocks.keys()) {
      const given = unpackMxfp4(Uint8Array.from(blocks[expert]), Uint8Array.from(scales[expert]), rows);
      assert.deepEqual([...given], values[expert]);
    }
  });

  it("writes a model in FP8 as one in BF16, all else as it was", () => {
    const model = modelNamed("deepseek_v3, FP8");
    return converted(model, (before, after) => {
      const name = `model.layers.${before.architecture.expertLayers[0]}.mlp.experts.1.down_proj.weight`;
      const { shape } = before.tensors.get(name) as StoredTensor;
      const [rows, columns] = shape as [number, number];
      const [blockRows, blockColumns] = before.architecture.fp8Block as readonly [number, number];
      assert.ok(rows % blockRows !== 0 || columns % blockColumns !== 0, "the last blocks are short");
      const scale = before.tensors.get(`${name}_scale_inv`) as StoredTensor;
      const scales = toFloat32(scale.dtype as "BF16", bytesIn(model, `${name}_scale_inv`));
      const bytes = bytesIn(model, name);
      const expected = new Float32Array(bytes.length);
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const factor = scales[Math.floor(row / blockRows) * (scale.shape[1] as number) + Math.floor(column / blockColumns)] as number;
          const value = golden.fp8[bytes[row * columns + column] as number];
          expected[row * columns + column] = (value === "NaN" ? Number.NaN : value) * factor;
        }
      }
      assert.equal(after.tensors.get(name)?.dtype, "BF16");
      assert.deepEqual(toFloat32("BF16", Uint8Array.from(stored(after, name))), toFloat32("BF16", fromFloat32("BF16", expected)));
      for (const same of ["model.norm.weight", name.replace("experts.1.down_proj", "gate")])
        assert.deepEqual(stored(after, same), stored(before, same));
      assert.ok(![...after.tensors.keys()].some((one) => one.endsWith("_scale_inv")));
    });
  });

  it("writes gpt-oss's experts as matrices", () => {
    const model = modelNamed("gpt_oss, MXFP4");
    return converted(model, (_, after) => {
      const name = "model.layers.0.mlp.experts.gate_up_proj";
      const { shape } = after.tensors.get(name) as StoredTensor;
      const [experts, hidden, columns] = shape as [number, number, number];
      const [blocks, scales] = [bytesIn(model, `${name}_blocks`), bytesIn(model, `${name}_scales`)];
      const part = (bytes: Uint8Array, expert: number) =>
        bytes.subarray((expert * bytes.length) / experts, ((expert + 1) * bytes.length) / experts);
      const all = stored(after, name);
      for (let expert = 0; expert < experts; expert++) {
        const values = unpackMxfp4(part(blocks, expert), part(scales, expert), columns);
        assert.equal(values.length, hidden * columns);
        assert.deepEqual(Buffer.from(part(all, expert)), Buffer.from(fromFloat32("BF16", values)));
      }
    });
  });

  describe("of a checkpoint that changes", () => {
    const maximumShardBytes = 20_000;
    /** Other weights under the same names, in files that are as long. */
    const change = (directory: string) => {
      for (const file of readdirSync(directory).filter((name) => name.endsWith(".safetensors"))) {
        const bytes = readFileSync(join(directory, file));
        const first = 8 + Number(bytes.readBigUInt64LE());
        for (let at = first; at < bytes.length; at += 2) bytes[at] = (bytes[at] as number) ^ 1;
        writeFileSync(join(directory, file), bytes);
      }
    };
    const contents = (directory: string) =>
      Object.fromEntries(readdirSync(directory).map((name) => [name, readFileSync(join(directory, name)).toString("base64")]));
    const inPacked = (use: (packed: string, plain: string, directory: string) => Promise<void>) =>
      inDirectory(async (directory) => {
        const packed = join(directory, "packed");
        await writeSmallModel(packed, modelNamed("deepseek_v3, FP8"));
        await use(packed, join(directory, "plain"), directory);
      });

    it("begins anew: what a stopped run wrote of the old weights is not among the new", () =>
      inPacked(async (packed, plain, directory) => {
        const stop = new AbortController();
        const onProgress = (done: number, total: number) => {
          if (done > total / 2) stop.abort();
        };
        const stopped = convertCheckpoint(await openCheckpoint(packed), {
          directory: plain,
          maximumShardBytes,
          onProgress,
          signal: stop.signal,
        });
        await assert.rejects(stopped, { name: "AbortError" });
        change(packed);
        await convertCheckpoint(await openCheckpoint(packed), { directory: plain, maximumShardBytes });
        const whole = join(directory, "whole");
        await convertCheckpoint(await openCheckpoint(packed), { directory: whole, maximumShardBytes });
        assert.deepEqual(contents(plain), contents(whole));
      }));

    it("ends with what changed, and keeps nothing, where that is meanwhile", () =>
      inPacked(async (packed, plain, directory) => {
        let changed = false;
        const onProgress = (done: number, total: number) => {
          if (changed || done < total / 2) return;
          changed = true;
          change(packed);
        };
        const given = convertCheckpoint(await openCheckpoint(packed), { directory: plain, maximumShardBytes, onProgress });
        await assert.rejects(given, failure("file-changed", { retryable: true }));
        assert.deepEqual(readdirSync(directory), ["packed"]);
      }));
  });

  it("writes where a link leads to an empty directory, and leaves the link", () =>
    inDirectory(async (directory) => {
      const [packed, plain, link] = ["packed", "plain", "link"].map((name) => join(directory, name)) as [string, string, string];
      await writeSmallModel(packed, modelNamed("MXFP4"));
      mkdirSync(plain);
      symlinkSync("plain", link);
      const options = { directory: link, maximumShardBytes: 1e9 };
      await convertCheckpoint(await openCheckpoint(packed), options);
      assert.deepEqual(readdirSync(directory).sort(), ["link", "packed", "plain"]);
      assert.equal(readlinkSync(link), "plain");
      await openCheckpoint(plain);
      await assert.rejects(convertCheckpoint(await openCheckpoint(packed), options), failure("output-exists"));
    }));

  it("refuses a link that leads nowhere, and a mount point, before anything is written", () =>
    inDirectory(async (directory) => {
      const [packed, link] = [join(directory, "packed"), join(directory, "link")];
      await writeSmallModel(packed, modelNamed("MXFP4"));
      const checkpoint = await openCheckpoint(packed);
      symlinkSync("nowhere", link);
      await assert.rejects(convertCheckpoint(checkpoint, { directory: link, maximumShardBytes: 1e9 }), failure("file-irregular"));
      assert.deepEqual(readdirSync(directory).sort(), ["link", "packed"]);
      if (process.platform !== "linux") return;
      const given = convertCheckpoint(checkpoint, { directory: "/proc", maximumShardBytes: 1e9 });
      await assert.rejects(given, failure("output-mount-point"));
    }));

  it("refuses a checkpoint that has nothing to unpack, and a directory in use", () =>
    inDirectory(async (directory) => {
      await writeSmallModel(join(directory, "plain"), modelNamed("olmoe"));
      const plain = await openCheckpoint(join(directory, "plain"));
      await assert.rejects(
        convertCheckpoint(plain, { directory: join(directory, "out"), maximumShardBytes: 1e9 }),
        failure("nothing-packed"),
      );
      await writeSmallModel(join(directory, "packed"), modelNamed("MXFP4"));
      const packed = await openCheckpoint(join(directory, "packed"));
      await assert.rejects(convertCheckpoint(packed, { directory, maximumShardBytes: 1e9 }), failure("output-exists"));
    }));
});
