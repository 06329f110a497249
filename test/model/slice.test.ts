import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Location } from "../../src/files/reading.ts";
import { describeSlice, sizeCheckpoint } from "../../src/model/describe.ts";
import { createManifest, diffManifests, manifestRoot, totalBytes } from "../../src/model/manifest.ts";
import { type Piece, pieceKey, pieceName, readPieceFrom, readWholePiece } from "../../src/model/pieces.ts";
import { locateSlice, planSlice, type SlicePlan, writeSliceFile } from "../../src/model/slice.ts";
import { dequantize, quantize } from "../../src/model/stand-ins.ts";
import { weightLoader } from "../../src/model/weights.ts";
import { sliceCheckpoint } from "../../src/steps/slice-checkpoint.ts";
import { silentProgress } from "../../src/ui/progress.ts";
import { start } from "../cli/process.ts";
import { type Example, makeExample } from "./example.ts";
import { failure, inDirectory, independentRead, someFloats, versionWith, writeFile } from "./support.ts";

const withExample = (use: (example: Example, directory: string) => Promise<void>) => () =>
  inDirectory(async (directory) => use(await makeExample(directory), directory));

/** The expert tensor of group 1 that changes, of 10 rows of 12 values, and what its stand-in takes. */
const merged = "model.layers.1.mlp.experts.3.up_proj.weight";
const standInBytes = 10 * (12 / 2 + 2);

/** The version after it changed. */
async function nextVersion({ manifest, objects }: Example) {
  const next = await versionWith(manifest, new Map([[merged, { weights: someFloats(1, 120), momentum: someFloats(2, 120) }]]));
  for (const [hash, bytes] of next.objects) objects.set(hash, bytes);
  return next.manifest;
}

describe("slice", () => {
  it(
    "is the backbone, the group's experts and stand-ins of all others, by the law of bytes",
    withExample(async ({ checkpoint, manifest, standIns, manager }) => {
      const slice = describeSlice(sizeCheckpoint(checkpoint), 2, { kind: "q4-32" });
      for (const group of [0, 1]) {
        const plan = planSlice({ manifest, standIns, manager, group });
        assert.deepEqual(plan.bytes, { backbone: slice.backbone, experts: slice.experts, standIns: slice.standIns, momentum: 0 });
        assert.equal(totalBytes(plan.pieces), slice.total);
        const of = (role: Piece["role"]) => plan.pieces.filter((piece) => piece.role === role);
        assert.deepEqual(
          of("backbone"),
          manifest.pieces.filter((piece) => piece.role === "backbone"),
        );
        for (const piece of of("expert")) assert.equal(manager.groupOf(piece.layer as number, piece.expert as number), group);
        for (const piece of of("stand-in")) assert.notEqual(manager.groupOf(piece.layer as number, piece.expert as number), group);
        const names = [...of("expert"), ...of("stand-in")].map(pieceName).sort();
        assert.deepEqual(
          names,
          manifest.pieces
            .filter((piece) => piece.role === "expert")
            .map(pieceName)
            .sort(),
        );
        assert.equal(plan.version, manifestRoot(manifest));
        assert.equal(plan.standIns, manifestRoot(standIns));
      }
    }),
  );

  it(
    "of a whole has all but the base's stand-ins, and momentum once there is some, which a group's slice has not",
    withExample(async (example) => {
      const { manifest, standIns, manager } = example;
      const before = planSlice({ manifest, manager, group: "whole" });
      assert.deepEqual(before.pieces, manifest.pieces);
      const next = await nextVersion(example);
      const after = planSlice({ manifest: next, manager, group: "whole" });
      assert.equal(after.bytes.momentum, 480);
      assert.equal(before.bytes.standIns, 0);
      assert.equal(after.bytes.standIns, standInBytes);
      assert.equal(planSlice({ manifest: next, standIns, manager, group: 1 }).bytes.momentum, 0);
    }),
  );

  it(
    "of the next version costs a miner what changed in its group, and others the stand-in of it",
    withExample(async (example) => {
      const { manifest, standIns, manager } = example;
      const next = await nextVersion(example);
      const missing = [0, 1].map((group) => {
        const had = new Set(planSlice({ manifest, standIns, manager, group }).pieces.map((piece) => piece.hash));
        return totalBytes(planSlice({ manifest: next, standIns, manager, group }).pieces.filter((piece) => !had.has(piece.hash)));
      });
      assert.deepEqual(missing, [standInBytes, 480]);
      assert.equal(diffManifests(manifest, next).changedBytes, 960 + standInBytes, "a validator fetches the momentum too");
    }),
  );

  it(
    "of the next version has its stand-in of what was merged in the place of the base's, and the whole its weights",
    withExample(async (example) => {
      const { standIns, manager, readPiece, checkpoint } = example;
      const manifest = await nextVersion(example);
      const { architecture } = checkpoint;
      const valuesIn = async (group: 0 | 1 | "whole") => {
        const { pieces } = planSlice({ manifest, standIns, manager, group });
        return (await weightLoader({ pieces, readPiece, architecture })([merged])).get(merged) as Float32Array;
      };
      const weights = someFloats(1, 120);
      const shape = (standIns.pieces.find((piece) => pieceName(piece) === merged) as Piece).shape;
      assert.deepEqual(await valuesIn(0), dequantize(quantize(weights, shape), shape));
      assert.deepEqual([await valuesIn(1), await valuesIn("whole")], [weights, weights]);
    }),
  );

  it(
    "as a file is read by others, piece by piece the same bytes",
    withExample(async (example, directory) => {
      const { standIns, manager, readPiece, locate } = example;
      const manifest = await nextVersion(example);
      for (const group of [0, 1, "whole"] as const) {
        const plan = planSlice({ manifest, standIns, manager, group });
        const path = join(directory, `${group}.safetensors`);
        let last: number[] = [];
        const written = await writeSliceFile(plan, path, { locate, onProgress: (...step) => (last = step) });
        const file = readFileSync(path);
        assert.equal(written.bytes, file.length);
        assert.deepEqual(last, [totalBytes(plan.pieces), totalBytes(plan.pieces)]);
        const { metadata, tensors } = independentRead(path);
        assert.equal(metadata["version"], manifestRoot(manifest));
        assert.equal(metadata["group"], `${group}`);
        assert.equal(Object.keys(tensors).length, plan.pieces.length);
        for (const piece of plan.pieces) {
          const wanted = await readWholePiece(piece, readPiece);
          const suffix = piece.role === "stand-in" ? ".q4_32" : piece.role === "momentum" ? ".momentum" : "";
          const tensor = tensors[piece.name + suffix];
          assert.deepEqual(tensor?.data, wanted, pieceKey(piece));
          if (piece.role === "stand-in") {
            assert.deepEqual([tensor?.dtype, tensor?.shape], ["U8", [piece.bytes]]);
            assert.deepEqual(JSON.parse(metadata[`${piece.name}.q4_32`] as string), piece.shape);
          } else assert.deepEqual([tensor?.dtype, tensor?.shape], [piece.dtype, piece.shape]);
        }
        const located = await locateSlice(plan, path);
        assert.deepEqual(located, written.locations);
        const fromFile = readPieceFrom((hash) => located.get(hash));
        for (const piece of plan.pieces) assert.deepEqual(await readWholePiece(piece, fromFile), await readWholePiece(piece, readPiece));
      }
    }),
  );

  it(
    "as a file appears only when every piece was right",
    withExample(async ({ manifest, standIns, manager, locate }, directory) => {
      const plan = planSlice({ manifest, standIns, manager, group: 0 });
      const path = join(directory, "out", "slice.safetensors");
      await assert.rejects(writeSliceFile(plan, path, { locate }), failure("file-missing"));
      const last = plan.pieces.at(-1) as Piece;
      const write = (place: Location | undefined, options: object = {}) =>
        writeSliceFile(plan, join(directory, "slice"), { locate: (hash) => (hash === last.hash ? place : locate(hash)), ...options });
      const zeros = writeFile(directory, "zeros", new Uint8Array(last.bytes));
      const refused: string[] = [];
      const lie = write({ file: zeros, offset: 0, bytes: last.bytes }, { onMismatch: async ({ hash }: Piece) => refused.push(hash) });
      await assert.rejects(lie, failure("piece-mismatch"));
      assert.deepEqual(refused, [last.hash]);
      await assert.rejects(write(undefined), failure("piece-missing"));
      await assert.rejects(write({ file: zeros, offset: 1, bytes: last.bytes }), failure("file-truncated"));
      await assert.rejects(write(locate(last.hash), { signal: AbortSignal.abort() }), { name: "AbortError" });
      assert.ok(!readdirSync(directory).includes("slice"));
    }),
  );

  it(
    "found in a file is checked against the plan",
    withExample(async ({ manifest, standIns, manager, locate }, directory) => {
      const plans = [0, 1].map((group) => planSlice({ manifest, standIns, manager, group })) as [SlicePlan, SlicePlan];
      const path = join(directory, "slice.safetensors");
      await writeSliceFile(plans[0], path, { locate });
      await assert.rejects(locateSlice(plans[1], path), failure("piece-missing"));
      const wider = { ...plans[0], pieces: plans[0].pieces.map((piece) => ({ ...piece, bytes: piece.bytes + 1 })) };
      await assert.rejects(locateSlice(wider, path), failure("slice-mismatch"));
      writeFileSync(path, "nonsense");
      await assert.rejects(locateSlice(plans[0], path), failure("safetensors-invalid"));
      // A piece whose bytes were changed in the file has its place, and is refused when it is read.
      await writeSliceFile(plans[0], path, { locate });
      const file = readFileSync(path);
      file[file.length - 1] = (file.at(-1) as number) ^ 1;
      writeFileSync(path, file);
      const located = await locateSlice(plans[0], path);
      const reads = plans[0].pieces.map((piece) =>
        readWholePiece(
          piece,
          readPieceFrom((hash) => located.get(hash)),
        ),
      );
      const results = await Promise.allSettled(reads);
      assert.equal(results.filter((result) => result.status === "rejected").length, 1);
    }),
  );

  it(
    "is not planned from manifests and groups that do not belong together",
    withExample(async ({ manifest, standIns, manager }) => {
      const plan = (changes: object) => () => planSlice({ manifest, standIns, manager, group: 0, ...changes });
      const otherConfig = { ...standIns, config: manifest.tokenizer };
      assert.throws(plan({ standIns: undefined }), failure("slice-mismatch"));
      assert.throws(plan({ standIns: otherConfig }), failure("slice-mismatch"));
      assert.throws(plan({ standIns: manifest }), failure("piece-missing"));
      assert.throws(
        plan({ standIns: createManifest(standIns.config, standIns.tokenizer, standIns.pieces.slice(0, -1)) }),
        failure("piece-missing"),
      );
      const reshaped = standIns.pieces.map((piece) => ({ ...piece, shape: piece.shape.toReversed() }));
      assert.throws(plan({ standIns: { ...standIns, pieces: reshaped } }), failure("slice-mismatch"));
      assert.throws(plan({ manager: { expertsOf: () => [{ layer: 0, experts: [0, 99] }] } }), failure("slice-mismatch"));
      assert.throws(plan({ group: 2 }), failure("no-such-group"));
    }),
  );

  /** Writes a slice of group 0 until half of its bytes are there; returns the file that was left and where the pieces lie in it. */
  async function stopHalfWay(plan: SlicePlan, path: string, { locate }: Example) {
    const controller = new AbortController();
    const onProgress = (done: number, total: number) => void (2 * done >= total && controller.abort());
    await assert.rejects(writeSliceFile(plan, path, { locate, onProgress, signal: controller.signal }), { name: "AbortError" });
    const [left, ...more] = readdirSync(dirname(path)).filter((name) => name.startsWith(`.${basename(path)}.`)) as [string];
    assert.deepEqual(more, []);
    return join(dirname(path), left);
  }

  it(
    "as a file goes on where it was stopped: what is there is hashed, and the rest is read from its source",
    withExample(async (example, directory) => {
      const { manifest, standIns, manager, locate } = example;
      const plan = planSlice({ manifest, standIns, manager, group: 0 });
      const [whole, path] = [join(directory, "whole"), join(directory, "stopped")];
      const { locations } = await writeSliceFile(plan, whole, { locate });
      const left = await stopHalfWay(plan, path, example);
      const [wanted, found] = [readFileSync(whole), readFileSync(left)];
      const isThere = ({ hash }: Piece) => {
        const { offset, bytes } = locations.get(hash) as Location;
        return wanted.subarray(offset, offset + bytes).equals(found.subarray(offset, offset + bytes));
      };
      const there = plan.pieces.filter(isThere);
      assert.ok(there.length > 1 && there.length < plan.pieces.length);

      // Of what is there nothing can be had from its source any more.
      const gone = new Set(there.map(({ hash }) => hash));
      const nowhere: Location = { file: join(directory, "none"), offset: 0, bytes: 0 };
      const locateRest = (hash: string) => (gone.has(hash) ? nowhere : locate(hash));
      // But for one, a bit of which a disk lost or somebody changed. And there are bytes that are none of the file's.
      const [, torn] = there as [Piece, Piece];
      const { offset } = locations.get(torn.hash) as Location;
      found[offset] = (found[offset] as number) ^ 1;
      writeFileSync(left, Buffer.concat([found, Buffer.alloc(wanted.length)]));
      await assert.rejects(writeSliceFile(plan, path, { locate: locateRest }), failure("file-missing"));
      assert.ok(!existsSync(path));
      gone.delete(torn.hash);
      await writeSliceFile(plan, path, { locate: locateRest });
      assert.ok(readFileSync(path).equals(wanted));
      assert.ok(!existsSync(left));
    }),
  );

  it(
    "as a file of another slice does not go on with what was left",
    withExample(async (example, directory) => {
      const { manifest, standIns, manager, locate } = example;
      const path = join(directory, "slice");
      const left = await stopHalfWay(planSlice({ manifest, standIns, manager, group: 0 }), path, example);
      const before = readFileSync(left);
      await writeSliceFile(planSlice({ manifest, standIns, manager, group: 1 }), path, { locate });
      assert.equal(independentRead(path).metadata["group"], "1");
      assert.ok(readFileSync(left).equals(before), "that one can still go on");
    }),
  );

  it(
    "of a checkpoint, killed with SIGKILL while it hashes and while it writes, is written with the same bytes as without",
    withExample(async (_, directory) => {
      const base = join(directory, "base");
      for (const name of readdirSync(base)) utimesSync(join(base, name), 1000, 1000);
      const [whole, killed] = [join(directory, "whole.safetensors"), join(directory, "killed.safetensors")];
      const script = join(import.meta.dirname, "scripts", "slice-checkpoint.ts");
      const slice = (file: string, ...more: string[]) => start(["--import", "tsx", script, base, file, ...more]).ended;
      const undisturbed = JSON.parse((await slice(whole)).stdout);
      assert.equal((await slice(killed, "hashing pieces")).signal, "SIGKILL");
      assert.equal((await slice(killed, "writing the slice")).signal, "SIGKILL");
      assert.ok(!existsSync(killed));
      const { hashed } = JSON.parse((await slice(killed)).stdout);
      assert.deepEqual([undisturbed.hashed > 0, hashed], [true, 0], "what was hashed is not hashed again");
      assert.ok(readFileSync(killed).equals(readFileSync(whole)));
      assert.deepEqual(
        readdirSync(directory).filter((name) => name.includes("killed")),
        ["killed.safetensors"],
        "nothing is left beside it",
      );
    }),
  );

  it(
    "of a checkpoint is refused to a second process while one writes it, and not to the one after that is killed",
    withExample(async (_, directory) => {
      const output = join(directory, "slice.safetensors");
      const script = join(import.meta.dirname, "scripts", "slice-checkpoint.ts");
      const input = { directory: join(directory, "base"), groups: 2, group: 0, output };
      const context = { progress: silentProgress, signal: new AbortController().signal };
      const first = start(["--import", "tsx", script, input.directory, output, "hashing pieces", "SIGSTOP"]);
      await first.says("half");
      await assert.rejects(sliceCheckpoint(context, input), failure("output-busy", { exit: 11, retryable: true }));
      first.child.kill("SIGKILL");
      await first.ended;
      await sliceCheckpoint(context, input);
      assert.ok(existsSync(output));
    }),
  );
});
