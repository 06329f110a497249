import assert from "node:assert/strict";
import { fromFloat32, toFloat32 } from "../../src/model/dtype.ts";
import { type Architecture, readArchitecture } from "../../src/model/families/index.ts";
import { createManifest, encodeManifest, type Manifest, manifestRoot, parseManifest } from "../../src/model/manifest.ts";
import { type Piece, pieceKey, pieceName } from "../../src/model/pieces.ts";
import { streamTensor } from "../../src/model/safetensors.ts";
import { planSlice } from "../../src/model/slice.ts";
import { dequantize, quantize } from "../../src/model/stand-ins.ts";
import { loadWeights, piecesOf, type TensorUpdate, tensorsOfPieces } from "../../src/model/weights.ts";
import { sha256, toHex } from "../../src/protocol/hash.ts";
import { type Example, makeExample } from "./example.ts";
import { failure, inDirectory, pieceNamed, readFrom, someFloats, tiny, tinyConfig, versionWith } from "./support.ts";

let shared: Example;

/** The values as the checkpoint's file has them. */
async function stored({ checkpoint }: Example, name: string): Promise<Float32Array> {
  const tensor = checkpoint.tensors.get(name);
  assert.ok(tensor);
  const chunks: Uint8Array[] = [];
  for await (const chunk of streamTensor(tensor.file, tensor)) chunks.push(chunk);
  return toFloat32("F32", Buffer.concat(chunks));
}

const withExample = (use: (example: Example) => Promise<void>) => () => inDirectory(async (directory) => use(await makeExample(directory)));
const up = "model.layers.1.mlp.experts.3.up_proj.weight";
const elements = 120;

describe("weights", () => {
  it(
    "of a version are all tensors of the model, as they are stored",
    withExample(async (example) => {
      const { manifest, readPiece, checkpoint } = example;
      const progress: number[][] = [];
      const weights = await loadWeights({
        pieces: manifest.pieces,
        readPiece,
        architecture: tiny,
        onProgress: (...step) => progress.push(step),
      });
      assert.deepEqual(
        [...weights.keys()],
        checkpoint.specs.map((spec) => spec.name),
      );
      for (const [name, values] of weights) assert.deepEqual(values, await stored(example, name), name);
      assert.deepEqual(progress.at(-1), [manifest.pieces.length, manifest.pieces.length]);
    }),
  );

  it(
    "of a slice have stand-ins' values in place of missing experts, and the exact ones elsewhere",
    withExample(async (example) => {
      const { manifest, standIns, manager, readPiece } = example;
      const plan = planSlice({ manifest, standIns, manager, group: 0 });
      const weights = await loadWeights({ pieces: plan.pieces, readPiece, architecture: tiny });
      let frozen = 0;
      for (const spec of example.checkpoint.specs) {
        const exact = await stored(example, spec.name);
        const missing = spec.role === "expert" && manager.groupOf(spec.layer as number, spec.expert as number) !== 0;
        const wanted = missing ? dequantize(quantize(exact, spec.shape), spec.shape) : exact;
        assert.deepEqual(weights.get(spec.name), wanted, spec.name);
        if (missing) frozen++;
      }
      assert.equal(frozen, 2 * 2 * 3);
    }),
  );

  it("of experts without a stand-in share zeros", () =>
    inDirectory(async (directory) => {
      const { manifest, standIns, manager, readPiece } = await makeExample(directory, tinyConfig, { mixed: true });
      const plan = planSlice({ manifest, standIns, manager, group: 1 });
      const weights = await loadWeights({ pieces: plan.pieces, readPiece, architecture: tiny });
      const absent = plan.pieces.filter(({ dtype }) => dtype === "Q0_64").map((piece) => weights.get(pieceName(piece)));
      assert.ok(absent.length > 1);
      for (const values of absent) assert.ok(values?.every((value) => value === 0));
      assert.equal(new Set(absent).size, new Set(absent.map((values) => values?.length)).size);
    }));

  it(
    "pass over momentum, and refuse pieces that are not exactly the model",
    withExample(async ({ manifest, readPiece }) => {
      const updated = await versionWith(manifest, new Map([[up, { weights: someFloats(1, elements), momentum: someFloats(2, elements) }]]));
      const read = (piece: Piece) => {
        const bytes = updated.objects.get(piece.hash);
        return bytes === undefined ? readPiece(piece) : Promise.resolve(bytes);
      };
      const load = (pieces: readonly Piece[], architecture: Architecture = tiny) => loadWeights({ pieces, readPiece: read, architecture });
      const other = (changes: object) => readArchitecture({ ...tinyConfig, ...changes });
      const weights = await load(updated.manifest.pieces);
      assert.deepEqual(weights.get(up), someFloats(1, elements));
      await assert.rejects(load(manifest.pieces.slice(1)), failure("weights-mismatch"));
      await assert.rejects(load([...manifest.pieces, manifest.pieces[0] as Piece]), failure("weights-mismatch"));
      await assert.rejects(load(manifest.pieces, other({ tie_word_embeddings: true })), failure("weights-mismatch"));
      await assert.rejects(load(manifest.pieces, { ...tiny, experts: 8 }), failure("weights-mismatch"));
      await assert.rejects(load(manifest.pieces, other({ moe_intermediate_size: 11 })), failure("weights-mismatch"));
      await assert.rejects(load(manifest.pieces, { ...tiny, notComputed: ["clip_qkv"] }), failure("config-not-computable"));
      await assert.rejects(load(manifest.pieces, { ...tiny, family: "bert" }), failure("unknown-family"));
      await assert.rejects(
        loadWeights({ pieces: manifest.pieces, readPiece: readFrom(new Map()), architecture: tiny }),
        failure("piece-missing"),
      );
      const aborted = loadWeights({ pieces: manifest.pieces, readPiece: read, architecture: tiny, signal: AbortSignal.abort() });
      await assert.rejects(aborted, { name: "AbortError" });
    }),
  );

  it(
    "select the pieces of some experts, by role",
    withExample(async ({ manifest, readPiece }) => {
      const pieces = piecesOf(manifest, "expert", [
        { layer: 0, experts: [2] },
        { layer: 1, experts: [0, 3] },
      ]);
      assert.deepEqual([...new Set(pieces.map((piece) => `${piece.layer}/${piece.expert}`))], ["0/2", "1/0", "1/3"]);
      assert.equal(pieces.length, 9);
      const { sizes, read } = tensorsOfPieces(pieces, readPiece);
      assert.deepEqual([...sizes.keys()], pieces.map(pieceName));
      assert.equal((await read(up)).length, elements);
      assert.equal(sizes.get(up), elements);
      assert.deepEqual(piecesOf(manifest, "momentum", [{ layer: 1, experts: [3] }]), []);
    }),
  );
});

describe("new version", () => {
  before(() =>
    inDirectory(async (directory) => {
      shared = await makeExample(directory);
    }),
  );

  /** The shared base with one dtype for its experts (the bytes are not there: a new version does not read). */
  const base = (dtype: "F32" | "BF16" | "F16"): Manifest => {
    const pieces = shared.manifest.pieces.map((piece) =>
      piece.role === "expert" && dtype !== "F32" ? { ...piece, dtype, bytes: piece.bytes / 2 } : piece,
    );
    return createManifest(shared.manifest.config, shared.manifest.tokenizer, pieces);
  };
  const update = (weights = someFloats(7, elements), momentum = someFloats(8, elements)) => new Map([[up, { weights, momentum }]]);

  for (const dtype of ["F32", "BF16", "F16"] as const) {
    it(`stores ${dtype} weights, fp32 momentum and a stand-in, and shares everything else`, async () => {
      const manifest = base(dtype);
      const next = await versionWith(manifest, update());
      const changed = next.manifest.pieces.filter((piece) => !manifest.pieces.some((old) => old === piece));
      assert.deepEqual(changed.map(pieceKey), [`expert:${up}`, `momentum:${up}`, `stand-in:${up}`]);
      assert.equal(next.manifest.pieces.length, manifest.pieces.length + 2);
      assert.equal(next.objects.size, 3);
      const [expert, momentum, standIn] = changed as [Piece, Piece, Piece];
      assert.deepEqual(Buffer.from(next.objects.get(expert.hash) ?? []), Buffer.from(fromFloat32(dtype, someFloats(7, elements))));
      assert.deepEqual(toFloat32("F32", next.objects.get(momentum.hash) as Uint8Array), someFloats(8, elements));
      // The stand-in says what is stored, not what it was rounded from.
      const stored = toFloat32(dtype, next.objects.get(expert.hash) as Uint8Array);
      assert.equal(standIn.dtype, "Q4_32");
      assert.deepEqual(Buffer.from(next.objects.get(standIn.hash) ?? []), Buffer.from(quantize(stored, standIn.shape)));
      for (const [hash, bytes] of next.objects) assert.equal(toHex(sha256(bytes)), hash);
      // What was made is a manifest that anybody accepts, and another version.
      const root = manifestRoot(next.manifest);
      assert.deepEqual(parseManifest(encodeManifest(next.manifest), { expectedRoot: root }), next.manifest);
      assert.notEqual(root, manifestRoot(manifest));
    });
  }

  it("replaces momentum and stand-ins that are there, and keeps what is not merged", async () => {
    const { manifest: first } = await versionWith(base("F32"), update());
    const { manifest: second } = await versionWith(first, update(someFloats(9, elements), someFloats(10, elements)));
    assert.equal(second.pieces.length, first.pieces.length);
    for (const role of ["momentum", "stand-in"] as const)
      assert.notEqual(pieceNamed(second, role, up).hash, pieceNamed(first, role, up).hash);
    const other = "model.layers.0.mlp.experts.0.gate_proj.weight";
    const third = await versionWith(second, new Map([[other, { weights: someFloats(1, elements), momentum: someFloats(1, elements) }]]));
    for (const role of ["momentum", "stand-in"] as const)
      assert.deepEqual(pieceNamed(third.manifest, role, up), pieceNamed(second, role, up));
    assert.equal(third.manifest.pieces.length, second.pieces.length + 2);
    assert.deepEqual(await versionWith(second, new Map()), { manifest: second, objects: new Map() });
  });

  it("is the same for the same updates in any order", async () => {
    const names = [up, "model.layers.0.mlp.experts.0.gate_proj.weight"];
    const updates = names.map(
      (name, index) => [name, { weights: someFloats(index, elements), momentum: someFloats(index + 5, elements) }] as const,
    );
    const made = await Promise.all([updates, updates.toReversed()].map((list) => versionWith(base("BF16"), new Map(list))));
    const roots = made.map(({ manifest }) => manifestRoot(manifest));
    assert.equal(roots[0], roots[1]);
  });

  it("refuses updates of what is not there, of another length, or not finite in the tensor's dtype", async () => {
    const refuses = (dtype: "F32" | "BF16" | "F16", updates: ReadonlyMap<string, TensorUpdate>, code: string) =>
      assert.rejects(versionWith(base(dtype), updates), failure(code));
    const one = { weights: someFloats(7, elements), momentum: someFloats(8, elements) };
    await refuses("F32", new Map([["model.norm.weight", one]]), "weights-mismatch");
    await refuses("F32", new Map([["none", one]]), "weights-mismatch");
    await refuses("F32", update(new Float32Array(119)), "weights-mismatch");
    await refuses("F32", update(undefined, new Float32Array(121)), "weights-mismatch");
    await refuses("F32", update(new Float32Array(elements).fill(Number.NaN)), "weights-non-finite");
    await refuses("F32", update(undefined, new Float32Array(elements).fill(Number.POSITIVE_INFINITY)), "weights-non-finite");
    const large = new Float32Array(elements).fill(70_000);
    await refuses("F16", update(large), "weights-non-finite");
    await versionWith(base("BF16"), update(large));
  });
});
