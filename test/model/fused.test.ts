/**
 * Fused layouts, all experts of a layer in one tensor, go the whole way. One family is made up that has both kinds that are published: the experts as a
 * dimension of their own, as in Llama 4 and gpt-oss, and all their rows in one flat matrix, as in DBRX.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { openCheckpoint } from "../../src/model/checkpoint.ts";
import { elementsOf, fromFloat32 } from "../../src/model/dtype.ts";
import { cutTensor, type Family, families, familyNamed, type TensorSpec } from "../../src/model/families/index.ts";
import { indexCheckpoint } from "../../src/model/index-checkpoint.ts";
import { makeStandIns } from "../../src/model/make-stand-ins.ts";
import { encodeManifest, manifestRoot, parseManifest } from "../../src/model/manifest.ts";
import { pieceName, type ReadPiece, readPieceFrom } from "../../src/model/pieces.ts";
import { expertLayout, planSlice, writeSliceFile } from "../../src/model/slice.ts";
import { dequantize, quantize } from "../../src/model/stand-ins.ts";
import { decodeSubmission, encodeSubmission } from "../../src/model/submission.ts";
import { loadWeights, piecesOf } from "../../src/model/weights.ts";
import { jsonFile, writeCheckpoint } from "../../src/model/write-checkpoint.ts";
import { createExpertManager } from "../../src/protocol/experts/expert-manager.ts";
import { inDirectory, locateIn, newConfig, someFloats, versionWith } from "./support.ts";

const separate = familyNamed("qwen3_moe");
const experts = 12;

/** Qwen3-MoE with its experts fused: [experts, rows, columns] for one part, [experts * rows, columns] for the other. */
const fused: Family = {
  ...separate,
  modelType: "made_up",
  forms: ["published"],
  architecture: (config) => ({ ...separate.architecture(config), family: "made_up", form: "published" }),
  tensors: (numbers) => [
    ...[...separate.tensors(numbers)].filter((spec) => spec.role === "backbone"),
    ...numbers.expertLayers.flatMap((layer): TensorSpec[] => {
      const common = { role: "expert", layer, fusedExperts: numbers.experts } as const;
      const name = `model.layers.${layer}.mlp.experts`;
      return [
        { ...common, name: `${name}.up_proj`, shape: [numbers.experts, 5, 8], part: "expert.up" },
        { ...common, name: `${name}.down_proj`, shape: [numbers.experts * 3, 4], part: "expert.down" },
      ];
    }),
  ],
};

const config = { ...newConfig("qwen3_moe", { experts }), model_type: "made_up" };
const architecture = fused.architecture(config);

describe("fused layout", () => {
  before(() => (families as Family[]).push(fused));
  after(() => (families as Family[]).splice(families.indexOf(fused), 1));

  it("is cut, quantised, sliced, loaded, submitted and merged expert by expert", () =>
    inDirectory(async (directory) => {
      const specs = [...fused.tensors(architecture)];
      const values = new Map(specs.map((spec, index) => [spec.name, someFloats(index, elementsOf(spec.shape) as number)]));
      const data = (spec: TensorSpec) => fromFloat32("F32", values.get(spec.name) as Float32Array);
      await writeCheckpoint({ directory, config: jsonFile(config), tokenizer: jsonFile({}), specs, dtype: "F32", data });
      const { manifest, locations } = await indexCheckpoint(await openCheckpoint(directory));
      assert.equal(manifest.pieces.filter((piece) => piece.role === "expert").length, 2 * 2 * experts);
      assert.deepEqual(parseManifest(encodeManifest(manifest), { expectedRoot: manifestRoot(manifest) }), manifest);

      const objects = new Map<string, Uint8Array>();
      const fromBase = readPieceFrom((hash) => locations.get(hash));
      const readPiece: ReadPiece = (piece) => {
        const bytes = objects.get(piece.hash);
        return bytes === undefined ? fromBase(piece) : Promise.resolve(bytes);
      };
      const standIns = await makeStandIns({
        manifest,
        locate: (hash) => locations.get(hash),
        store: async (bytes, hash) => objects.set(hash, bytes),
      });
      const manager = createExpertManager(expertLayout(architecture), 3);
      const plan = planSlice({ manifest, standIns, manager, group: 2 });
      const file = await writeSliceFile(plan, join(directory, "slice"), { locate: locateIn(directory, objects, locations) });
      const fromFile = readPieceFrom((hash) => file.locations.get(hash));
      const weights = await loadWeights({ pieces: plan.pieces, readPiece: fromFile, architecture });
      for (const spec of specs) {
        const exact = values.get(spec.name) as Float32Array;
        for (const { name, shape, expert } of cutTensor(spec)) {
          const part = exact.length / (spec.fusedExperts ?? 1);
          const own = exact.subarray((expert ?? 0) * part, ((expert ?? 0) + 1) * part);
          // Group 2 of 3 has experts 8 to 11; what is missing comes from its stand-in.
          assert.deepEqual(weights.get(name), expert === undefined || expert >= 8 ? own : dequantize(quantize(own, shape), shape), name);
        }
      }

      const selected = piecesOf(manifest, "expert", [{ layer: 1, experts: [8, 11] }]);
      const tensors = selected.map((piece) => ({ name: pieceName(piece), shape: piece.shape }));
      assert.deepEqual(
        tensors.map(({ name }) => name),
        ["down_proj#8", "down_proj#11", "up_proj#8", "up_proj#11"].map((name) => `model.layers.1.mlp.experts.${name}`),
      );
      const metadata = { task: manifest.config, cycle: 3, group: 2, base: manifestRoot(manifest) };
      const deltas = tensors.map((tensor, index) => ({
        ...tensor,
        delta: someFloats(90 + index, elementsOf(tensor.shape) as number, 0.01),
      }));
      const path = join(directory, "submission");
      await encodeSubmission({ path, metadata, codec: "block-int8", tensors: deltas });
      const decoded = await decodeSubmission(path, { metadata, codec: "block-int8", tensors, maximumBytes: 1e6 });
      assert.deepEqual(
        [...decoded.keys()],
        tensors.map(({ name }) => name),
      );

      const updates = new Map([...decoded].map(([name, delta]) => [name, { weights: delta, momentum: delta }]));
      const next = await versionWith(manifest, updates);
      for (const [hash, bytes] of next.objects) objects.set(hash, bytes);
      const merged = await loadWeights({ pieces: next.manifest.pieces, readPiece, architecture });
      const changed = [...merged].filter(([name, after]) => decoded.has(name) && isDeepStrictEqual(after, decoded.get(name)));
      assert.deepEqual(changed.map(([name]) => name).sort(), tensors.map(({ name }) => name).sort());
      assert.equal(merged.size, weights.size);
    }));
});
