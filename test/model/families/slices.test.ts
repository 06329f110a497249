/** Every family in every form as a checkpoint on the disk: indexed, given stand-ins, sliced, and exported again, byte by byte. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "../../../src/model/checkpoint.ts";
import { describeSlice, sizeCheckpoint } from "../../../src/model/describe.ts";
import { exportVersion } from "../../../src/model/export.ts";
import { familyNamed } from "../../../src/model/families/index.ts";
import { indexCheckpoint } from "../../../src/model/index-checkpoint.ts";
import { makeStandIns } from "../../../src/model/make-stand-ins.ts";
import { manifestRoot } from "../../../src/model/manifest.ts";
import type { Piece } from "../../../src/model/pieces.ts";
import { expertLayout, planSlice } from "../../../src/model/slice.ts";
import { createExpertManager } from "../../../src/protocol/experts/expert-manager.ts";
import { failure, inDirectory } from "../support.ts";
import { bytesOfTensor, smallModels, writeSmallModel } from "./goldens.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("checkpoints of every family", () => {
  for (const model of smallModels()) {
    it(`${model.name}: pieces are whole tensors or one expert's bytes, slices follow the law, an export has the same root`, () =>
      inDirectory(async (directory) => {
        await writeSmallModel(join(directory, "base"), model);
        const checkpoint = await openCheckpoint(join(directory, "base"));
        const { architecture } = checkpoint;
        const { experts } = architecture;
        const { manifest, locations } = await indexCheckpoint(checkpoint);

        // Every byte of every tensor is in exactly one piece, an expert's at its place in the tensor.
        const seen = new Map<string, number>();
        for (const piece of manifest.pieces) {
          const tensor = model.tensors[piece.name];
          assert.ok(tensor, piece.name);
          const bytes = bytesOfTensor(piece.name, tensor);
          const part = bytes.length / piece.bytes;
          assert.ok(part === 1 || (part === experts && piece.expert !== undefined), piece.name);
          const start = part === 1 ? 0 : (piece.expert as number) * piece.bytes;
          assert.equal(piece.hash, sha256(bytes.subarray(start, start + piece.bytes)), piece.name);
          assert.equal(piece.dtype, tensor.dtype);
          seen.set(piece.name, (seen.get(piece.name) ?? 0) + piece.bytes);
        }
        const { leftOut } = familyNamed(architecture.family).unlisted(architecture);
        for (const [name, tensor] of Object.entries(model.tensors)) {
          const expected = leftOut.some((prefix) => name.startsWith(prefix)) ? undefined : bytesOfTensor(name, tensor).length;
          assert.equal(seen.get(name), expected, name);
        }
        const expertPieces = manifest.pieces.filter(({ role }) => role === "expert");
        assert.deepEqual([...new Set(expertPieces.map(({ layer }) => layer))].sort(), architecture.expertLayers);
        assert.equal(
          new Set(expertPieces.map(({ layer, expert }) => `${layer}/${expert}`)).size,
          experts * architecture.expertLayers.length,
        );

        // The law, on the pieces that a slice really has.
        const sum = (pieces: readonly Piece[]) => pieces.reduce((total, { bytes }) => total + bytes, 0);
        const routed = sum(expertPieces);
        const backbone = sum(manifest.pieces) - routed;
        const packed = expertPieces.some(({ dtype }) => dtype === "U8" || dtype === "F8_E4M3");
        const locate = (hash: string) => locations.get(hash);
        const making = makeStandIns({ manifest, locate, store: async () => {} });
        if (packed) await assert.rejects(making, failure("dtype-unsupported"));
        const standIns = packed ? "none" : await making;
        for (const groups of [1, 2, experts].filter((count) => experts % count === 0)) {
          const manager = createExpertManager(expertLayout(architecture), groups);
          const plans = Array.from({ length: groups }, (_, group) => planSlice({ manifest, standIns, manager, group }));
          assert.equal(
            plans.reduce((total, plan) => total + plan.bytes.experts, 0),
            routed,
            "the groups share the experts out",
          );
          const size = describeSlice(sizeCheckpoint(checkpoint), groups, { kind: "q4-32" });
          const largest = Math.max(...plans.map(({ bytes }) => bytes.backbone + bytes.experts));
          assert.equal(largest, size.trained);
          assert.equal(largest, backbone + routed / groups);
          for (const plan of plans) {
            assert.equal(plan.bytes.backbone, backbone);
            assert.equal(plan.bytes.backbone + plan.bytes.experts + plan.bytes.standIns, sum(plan.pieces));
          }
          assert.equal(Math.min(...plans.map(({ bytes }) => bytes.standIns)), size.standIns ?? 0);
        }

        const output = join(directory, "exported");
        const files = {
          config: readFileSync(join(directory, "base", "config.json")),
          tokenizer: readFileSync(join(directory, "base", "tokenizer.json")),
        };
        const { files: shards } = await exportVersion({
          manifest,
          architecture,
          ...files,
          directory: output,
          maximumShardBytes: (backbone + routed) * 0.7,
          locate,
        });
        assert.equal(shards, 2);
        const again = await openCheckpoint(output);
        assert.deepEqual(again.architecture, architecture);
        assert.equal(manifestRoot((await indexCheckpoint(again)).manifest), manifestRoot(manifest));
      })).timeout(60_000);
  }
});
