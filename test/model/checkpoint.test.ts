import assert from "node:assert/strict";
import { chmodSync, cpSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readWhole } from "../../src/files/reading.ts";
import { openCheckpoint, type StoredTensor } from "../../src/model/checkpoint.ts";
import { fromFloat32, toFloat32 } from "../../src/model/dtype.ts";
import { type HashMemo, openHashMemo } from "../../src/model/hash-memo.ts";
import { indexCheckpoint } from "../../src/model/index-checkpoint.ts";
import { manifestRoot } from "../../src/model/manifest.ts";
import { pieceName, readPieceFrom, readWholePiece } from "../../src/model/pieces.ts";
import { readHeader, streamTensor, type TensorToWrite, writeSafetensors } from "../../src/model/safetensors.ts";
import { expected, failure, fixtures, floatsOfHex, inDirectory, pieceNamed } from "./support.ts";

const sharded = "qwen3-moe-sharded";

/** A copy of a fixture that may be broken. */
function withCopy(name: string, use: (directory: string) => Promise<void>): Promise<void> {
  return inDirectory(async (directory) => {
    cpSync(join(fixtures, name), directory, { recursive: true });
    await use(directory);
  });
}

/** Writes a safetensors file anew with its tensors changed. */
async function rewrite(path: string, change: (tensors: TensorToWrite[]) => TensorToWrite[]): Promise<void> {
  const tensors: TensorToWrite[] = [];
  for (const [name, entry] of (await readHeader(path)).tensors) {
    const data: Uint8Array[] = [];
    for await (const chunk of streamTensor(path, entry)) data.push(chunk);
    tensors.push({ name, dtype: entry.dtype, shape: entry.shape, data: Buffer.concat(data) });
  }
  await writeSafetensors(path, change(tensors), { format: "pt" });
}

/** Does the work without the rights of root, which may open everything. */
async function unprivileged<T>(work: () => Promise<T>): Promise<T> {
  const nobody = 65_534;
  if (process.geteuid?.() !== 0) return work();
  process.seteuid?.(nobody);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}

function edit(path: string, change: (document: Record<string, unknown>) => void): void {
  const document = JSON.parse(readFileSync(path, "utf8"));
  change(document);
  writeFileSync(path, JSON.stringify(document));
}

describe("checkpoint", () => {
  for (const name of [sharded, "olmoe"]) {
    it(`opens ${name} and finds the root that was computed elsewhere`, async () => {
      const checkpoint = await openCheckpoint(join(fixtures, name));
      const wanted = expected.checkpoints[name];
      const progress: number[] = [];
      const { manifest, locations } = await indexCheckpoint(checkpoint, {
        onProgress: (done, total) => {
          progress.push(done);
          assert.equal(
            total,
            [...checkpoint.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0),
          );
        },
      });
      assert.equal(manifest.pieces.length, wanted.pieces);
      assert.equal(manifestRoot(manifest), wanted.root);
      assert.deepEqual(
        progress,
        progress.toSorted((a, b) => a - b),
      );
      for (const [tensor, hex] of Object.entries(wanted.probe as Record<string, string>)) {
        const piece = pieceNamed(manifest, "backbone", tensor);
        const bytes = await readWholePiece(
          piece,
          readPieceFrom((hash) => locations.get(hash)),
        );
        assert.deepEqual(toFloat32(piece.dtype as "BF16", bytes), floatsOfHex(hex));
      }
      for (const [hash, file] of [
        [manifest.config, "config.json"],
        [manifest.tokenizer, "tokenizer.json"],
      ] as const) {
        const location = locations.get(hash);
        assert.deepEqual({ ...location }, { file: join(fixtures, name, file), offset: 0, bytes: location?.bytes });
        assert.equal((await readWhole(join(fixtures, name, file), 1e6)).length, location?.bytes);
      }
      for (const piece of manifest.pieces) assert.equal(locations.get(piece.hash)?.bytes, piece.bytes, pieceName(piece));
    });
  }

  it("does not care how a checkpoint is cut into files", () =>
    withCopy(sharded, async (directory) => {
      const before = await indexCheckpoint(await openCheckpoint(directory));
      const all: TensorToWrite[] = [];
      const keep = (tensors: TensorToWrite[]) => {
        all.push(...tensors);
        return tensors;
      };
      const shards = readdirSync(directory).filter((file) => file.endsWith(".safetensors"));
      for (const shard of shards) await rewrite(join(directory, shard), (tensors) => keep(tensors));
      await writeSafetensors(join(directory, "model.safetensors"), all);
      for (const shard of shards) rmSync(join(directory, shard));
      const after = await indexCheckpoint(await openCheckpoint(directory));
      assert.equal(manifestRoot(after.manifest), manifestRoot(before.manifest));
    }));

  it("stops indexing when told to", async () => {
    const checkpoint = await openCheckpoint(join(fixtures, "olmoe"));
    await assert.rejects(indexCheckpoint(checkpoint, { signal: AbortSignal.abort() }), { name: "AbortError" });
  });

  it("cuts a fused tensor into its experts' ranges", async () => {
    const checkpoint = await openCheckpoint(join(fixtures, "olmoe"));
    const fused = { name: "fused", part: "expert.gate", role: "expert", layer: 1, fusedExperts: 4 } as const;
    const [first] = checkpoint.tensors.values();
    assert.ok(first !== undefined);
    for (const [shape, own] of [
      [
        [4, 3, 2],
        [3, 2],
      ],
      [
        [12, 2],
        [3, 2],
      ],
    ] as const) {
      const tensor: StoredTensor = { ...first, shape, bytes: 48, dtype: "F16" };
      const { manifest, locations } = await indexCheckpoint({
        ...checkpoint,
        specs: [{ ...fused, shape }],
        tensors: new Map([["fused", tensor]]),
      });
      assert.deepEqual(
        manifest.pieces.map((piece): unknown[] => [pieceName(piece), piece.shape, piece.bytes, locations.get(piece.hash)?.offset]),
        [0, 1, 2, 3].map((expert) => [`fused#${expert}`, own, 12, tensor.offset + expert * 12]),
      );
    }
  });

  const single: [string, string, (directory: string) => Promise<void> | void, string][] = [
    ["checkpoint-invalid", "tensor-missing", (d) => rewrite(join(d, "model.safetensors"), (all) => all.slice(1)), ""],
    [
      "checkpoint-invalid",
      "tensor-unknown",
      (d) => rewrite(join(d, "model.safetensors"), (all) => [...all, { name: "extra", dtype: "F16", shape: [1], data: new Uint8Array(2) }]),
      "model.safetensors",
    ],
    [
      "checkpoint-invalid",
      "tensor-shape",
      (d) =>
        rewrite(join(d, "model.safetensors"), (all) =>
          all.map((one) => (one.shape.length === 2 ? { ...one, shape: one.shape.toReversed() } : one)),
        ),
      "model.safetensors",
    ],
    [
      "checkpoint-invalid",
      "tensor-shape",
      (d) => edit(join(d, "config.json"), (config) => Object.assign(config, { hidden_size: 16 })),
      "model.safetensors",
    ],
    [
      "checkpoint-invalid",
      "tensor-dtype",
      (d) => rewrite(join(d, "model.safetensors"), (all) => all.map((one) => ({ ...one, dtype: "I16" as const }))),
      "model.safetensors",
    ],
    ["checkpoint-invalid", "json", (d) => writeFileSync(join(d, "config.json"), "{"), "config.json"],
    ["checkpoint-invalid", "json", (d) => writeFileSync(join(d, "config.json"), Uint8Array.of(0x22, 0xff, 0x22)), "config.json"],
    ["checkpoint-invalid", "no-tensors", (d) => renameSync(join(d, "model.safetensors"), join(d, "other")), ""],
    ["safetensors-invalid", "offsets-beyond-data", (d) => truncateSync(join(d, "model.safetensors"), 5000), "model.safetensors"],
    ["safetensors-invalid", "file-shorter-than-length", (d) => truncateSync(join(d, "model.safetensors"), 0), "model.safetensors"],
  ];
  for (const [code, rule, damage, file] of single) {
    it(`refuses ${rule} in ${file === "" ? "the directory" : file}`, () =>
      withCopy("olmoe", async (directory) => {
        await damage(directory);
        await assert.rejects(openCheckpoint(directory), failure(code, { rule, file: file === "" ? directory : join(directory, file) }));
      }));
  }

  const index = "model.safetensors.index.json";
  const map = (document: Record<string, unknown>) => document["weight_map"] as Record<string, string>;
  const [shard1, shard2] = ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"] as const;
  const shards: [string, string | undefined, string | undefined, (directory: string) => Promise<void> | void][] = [
    ["file-missing", undefined, undefined, (d) => rmSync(join(d, shard2))],
    ["safetensors-invalid", "offsets-beyond-data", shard2, (d) => truncateSync(join(d, shard2), 2000)],
    ["checkpoint-invalid", "json", index, (d) => writeFileSync(join(d, index), "[")],
    ["checkpoint-invalid", "index-format", index, (d) => writeFileSync(join(d, index), "[]")],
    ["checkpoint-invalid", "index-format", index, (d) => writeFileSync(join(d, index), '{"weight_map":{"a":1}}')],
    ["checkpoint-invalid", "index-format", index, (d) => writeFileSync(join(d, index), "{}")],
    ["checkpoint-invalid", "index-format", index, (d) => writeFileSync(join(d, index), '{"weight_map":["a"]}')],
    [
      "checkpoint-invalid",
      "index-format",
      index,
      (d) => {
        const text = readFileSync(join(d, index), "utf8");
        writeFileSync(join(d, index), text.replace(/(?="lm_head.weight")/, `"lm_head.weight": "${shard2}", `));
      },
    ],
    ["checkpoint-invalid", "json", index, (d) => writeFileSync(join(d, index), '{"weight_map":{"a":"b.safetensors"},"weight_map":{}}')],
    ["checkpoint-invalid", "json", index, (d) => writeFileSync(join(d, index), '{"weight_map":{"a" "b.safetensors"}}')],
    ["checkpoint-invalid", "json", index, (d) => writeFileSync(join(d, index), '{"weight_map":{a:"b.safetensors"}}')],
    [
      "checkpoint-invalid",
      "shard-name",
      index,
      (d) => edit(join(d, index), (one) => Object.assign(map(one), { "lm_head.weight": "../model.safetensors" })),
    ],
    [
      "checkpoint-invalid",
      "shard-name",
      index,
      (d) => edit(join(d, index), (one) => Object.assign(map(one), { "lm_head.weight": "/etc/passwd" })),
    ],
    [
      "checkpoint-invalid",
      "shard-unlisted-tensor",
      shard1,
      (d) => edit(join(d, index), (one) => Object.assign(map(one), { "lm_head.weight": shard2 })),
    ],
    ["checkpoint-invalid", "shard-unlisted-tensor", shard1, (d) => edit(join(d, index), (one) => delete map(one)["lm_head.weight"])],
    [
      "checkpoint-invalid",
      "shard-missing-tensor",
      shard1,
      (d) => edit(join(d, index), (one) => Object.assign(map(one), { other: shard1 })),
    ],
    ["checkpoint-invalid", "shard-missing-tensor", shard1, (d) => rewrite(join(d, shard1), (all) => all.slice(1))],
    [
      "checkpoint-invalid",
      "tensor-missing",
      "",
      async (d) => {
        const [name = ""] = (await readHeader(join(d, shard1))).tensors.keys();
        await rewrite(join(d, shard1), (all) => all.filter((one) => one.name !== name));
        edit(join(d, index), (one) => delete map(one)[name]);
      },
    ],
  ];
  for (const [code, rule, file, damage] of shards) {
    it(`refuses ${rule ?? code} among shards${file ? `, in ${file}` : ""}`, () =>
      withCopy(sharded, async (directory) => {
        await damage(directory);
        const fields = {
          ...(rule === undefined ? {} : { rule }),
          ...(file === undefined ? {} : { file: file === "" ? directory : join(directory, file) }),
        };
        await assert.rejects(openCheckpoint(directory), failure(code, fields));
      }));
  }

  it("refuses a missing directory, a missing config or tokenizer, and an unknown family", () =>
    withCopy("olmoe", async (directory) => {
      await assert.rejects(openCheckpoint(join(directory, "none")), failure("file-missing"));
      await assert.rejects(openCheckpoint(join(directory, "config.json")), failure("file-missing"));
      renameSync(join(directory, "tokenizer.json"), join(directory, "t"));
      await assert.rejects(openCheckpoint(directory), failure("file-missing"));
      renameSync(join(directory, "t"), join(directory, "tokenizer.json"));
      const file = join(directory, "config.json");
      edit(file, (config) => delete config["hidden_size"]);
      await assert.rejects(openCheckpoint(directory), { code: "config-invalid", message: `${file}: hidden_size: missing` });
      edit(file, (config) => Object.assign(config, { model_type: "bert" }));
      await assert.rejects(openCheckpoint(directory), { code: "unknown-family", message: `${file}: unknown model family "bert"` });
      truncateSync(join(directory, "config.json"), 2 ** 33);
      await assert.rejects(openCheckpoint(directory), failure("file-oversize"));
    }));

  it("names the directory or file that it has no right to", () =>
    withCopy("olmoe", async (directory) => {
      chmodSync(directory, 0o755);
      await unprivileged(() => openCheckpoint(directory));
      for (const [path, mode] of Object.entries({ "config.json": 0o644, "tokenizer.json": 0o644, "model.safetensors": 0o644, "": 0o755 })) {
        chmodSync(join(directory, path), 0);
        try {
          const denied = new RegExp(`${join(directory, path || "config.json")} may not be opened`);
          await assert.rejects(
            unprivileged(() => openCheckpoint(directory)),
            (error: Error) => failure("permission-denied")(error) && denied.test(error.message),
          );
        } finally {
          chmodSync(join(directory, path), mode);
        }
      }
    }));

  it("notices a file that shrinks between opening and indexing", () =>
    withCopy("olmoe", async (directory) => {
      const checkpoint = await openCheckpoint(directory);
      truncateSync(join(directory, "model.safetensors"), 3000);
      await assert.rejects(indexCheckpoint(checkpoint), failure("file-truncated"));
    }));

  it("goes on where it was stopped, and believes what it hashed only while the files stay as they are", () =>
    withCopy(sharded, async (directory) => {
      const path = join(directory, "memo", "hashes.log");
      const shards = readdirSync(directory).filter((file) => file.endsWith(".safetensors"));
      const age = (which: readonly string[]) => {
        for (const shard of which) utimesSync(join(directory, shard), 1000, 1000);
      };
      age(shards);
      /** Indexes with the memo and counts what had to be hashed. */
      const index = async (stopAfter = Number.POSITIVE_INFINITY) => {
        const memo = await openHashMemo(path);
        let hashed = 0;
        const counting: HashMemo = {
          ...memo,
          async keep(key, hash) {
            if (hashed === stopAfter) throw new Error("stopped");
            hashed += 1;
            await memo.keep(key, hash);
          },
        };
        try {
          const { manifest } = await indexCheckpoint(await openCheckpoint(directory), { memo: counting });
          return { root: manifestRoot(manifest), pieces: manifest.pieces.length, hashed };
        } finally {
          await memo.close();
        }
      };
      const { root } = expected.checkpoints[sharded];
      await assert.rejects(index(3), { message: "stopped" });
      // A kill can tear the last line, and a disk can change one.
      const kept = readFileSync(path, "utf8").trimEnd().split("\n");
      assert.equal(kept.length, 4, "a beginning and three hashes");
      writeFileSync(path, [...kept.slice(0, 3), (kept[3] as string).slice(0, -2)].join("\n"));
      const second = await index();
      assert.deepEqual([second.root, second.hashed], [root, second.pieces - 2]);
      assert.deepEqual(await index(), { ...second, hashed: 0 });
      const lines = readFileSync(path, "utf8");
      writeFileSync(path, lines.replace(/ [0-9a-f]{4}(?=[0-9a-f]{60} )/, " 0000"));
      assert.equal((await index()).hashed, 1);
      // The same length and the same times, but other bytes: nobody can set the time at which an inode changed.
      const [shard] = shards as [string];
      const bytes = readFileSync(join(directory, shard));
      bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
      writeFileSync(join(directory, shard), bytes);
      age([shard]);
      const changed = await index();
      assert.notEqual(changed.root, root);
      assert.ok(changed.hashed > 0 && changed.hashed < changed.pieces);
      // Written just now: it may change again within the clock's grain, so that nothing of it is believed the next time.
      writeFileSync(join(directory, shard), bytes);
      const fresh = await index();
      assert.equal(fresh.root, changed.root);
      assert.equal(fresh.hashed, 0);
      age([shard]);
      assert.equal((await index()).hashed, changed.hashed);
    }));

  it("has another root when one bit of one tensor differs", () =>
    withCopy("olmoe", async (directory) => {
      await rewrite(join(directory, "model.safetensors"), (all) =>
        all.map((one, position) =>
          position === 3 ? { ...one, data: fromFloat32("F16", toFloat32("F16", flip(one.data as Uint8Array))) } : one,
        ),
      );
      const { manifest } = await indexCheckpoint(await openCheckpoint(directory));
      assert.notEqual(manifestRoot(manifest), expected.checkpoints.olmoe.root);
    }));
});

function flip(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, at) => (at === 0 ? byte ^ 1 : byte));
}
