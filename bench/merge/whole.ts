/**
 * The second half of `npm run bench -- merge`: submissions on the disk become a version's new pieces, on the shipped steps: decoded, norms taken, averaged,
 * stepped, rounded, hashed and written. Arguments: directory, contributors, tensors, elements of a tensor. Prints one JSON document.
 */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createManifest } from "../../src/model/manifest.ts";
import { type Piece, pieceName } from "../../src/model/pieces.ts";
import { openSubmission } from "../../src/model/submission.ts";
import { newVersion, readValues, tensorsOfPieces } from "../../src/model/weights.ts";
import type { Task } from "../../src/protocol/task.ts";
import { aggregate } from "../../src/steps/evaluate/aggregate.ts";
import { step, stepPlace } from "../../src/steps/evaluate/merge-groups.ts";
import { metadata, nameOf, readerOf } from "./operands.ts";

const [directory = "", ...numbers] = process.argv.slice(2);
const [contributors = 1, tensors = 1, elements = 1] = numbers.map(Number);
const pieces: Piece[] = JSON.parse(await readFile(join(directory, "pieces.json"), "utf8"));
const openedBytes = process.memoryUsage.rss();
let peakBytes = openedBytes;
const readPiece = readerOf(directory);
const started = performance.now();
const submissions = await Promise.all(
  Array.from({ length: contributors }, (_, one) =>
    openSubmission(join(directory, `${one}.submission`), {
      metadata,
      codec: "dense-bf16",
      tensors: Array.from({ length: tensors }, (_value, tensor) => ({ name: nameOf(tensor), shape: [elements] })),
      maximumBytes: Number.MAX_SAFE_INTEGER,
    }),
  ),
);
const gradient = await aggregate(submissions, { method: "mean", tolerated: 0.25, normCap: 4 });
const task = { outer: { optimizer: "nesterov", learningRate: 0.7, momentum: 0.9 } } as unknown as Task;
const momentum = tensorsOfPieces(
  pieces.filter(({ role }) => role === "momentum"),
  readPiece,
);
const how = { gradient, scale: 0.5, place: stepPlace(gradient.sizes) };
let writtenBytes = 0;
await newVersion({
  manifest: createManifest("0".repeat(64), "0".repeat(64), pieces),
  changed: new Set(pieces.map(pieceName)),
  update: (name, piece) =>
    step(
      { task, momentum },
      how,
      name,
      (into) => readValues(piece, readPiece, into),
      (stepped) => stepped,
    ),
  keep: async (bytes) => {
    writtenBytes += bytes.length;
    peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
    // One place for all: what is measured is the merge, not the disk's room.
    await writeFile(join(directory, "written"), bytes);
    return createHash("sha256").update(bytes).digest("hex");
  },
});
const seconds = (performance.now() - started) / 1000;
// Submissions are read twice: for their norms, and for the gradient.
const readBytes = 2 * contributors * 2 * elements * tensors + pieces.reduce((sum, { bytes }) => sum + bytes, 0);
process.stdout.write(`${JSON.stringify({ tensors, seconds, readBytes, writtenBytes, openedBytes, peakBytes })}\n`);
