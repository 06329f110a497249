/** Submissions, base and momentum of a model of equal tensors, as files, for `npm run bench -- merge`. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromFloat32 } from "../../src/model/dtype.ts";
import type { Piece, ReadPiece } from "../../src/model/pieces.ts";
import { encodeSubmission } from "../../src/model/submission.ts";

export const metadata = { task: "0".repeat(64), cycle: 0, group: 0, base: "0".repeat(64) };

export interface Sizes {
  readonly contributors: number;
  readonly tensors: number;
  readonly elements: number;
}

export function nameOf(tensor: number): string {
  return `model.layers.${tensor}.mlp.experts.0.up_proj.weight`;
}

/** Reads a piece by its hash from the directory. */
export function readerOf(directory: string): ReadPiece {
  return (piece) => createReadStream(join(directory, piece.hash), { highWaterMark: 1 << 20 });
}

/** Writes them, and the list of the pieces. All tensors of a submission are alike, as are all of the base and the momentum, so that one is in memory. */
export async function makeOperands(directory: string, { contributors, tensors, elements }: Sizes): Promise<void> {
  const values = new Float32Array(elements);
  for (let one = 0; one < contributors; one++) {
    for (let i = 0; i < elements; i++) values[i] = (((i * (one + 7)) % 101) - 50) / 1e5;
    const list = Array.from({ length: tensors }, (_, tensor) => ({ name: nameOf(tensor), shape: [elements], delta: values }));
    await encodeSubmission({ path: join(directory, `${one}.submission`), metadata, codec: "dense-bf16", tensors: list });
  }
  const keep = async (bytes: Uint8Array) => {
    const hash = createHash("sha256").update(bytes).digest("hex");
    await writeFile(join(directory, hash), bytes);
    return { hash, bytes: bytes.length };
  };
  const base = await keep(fromFloat32("BF16", values.fill(0.02)));
  const momentum = await keep(fromFloat32("F32", values.fill(1e-4)));
  const pieces = Array.from({ length: tensors }, (_, layer): Piece[] => {
    const place = { name: nameOf(layer), shape: [elements], layer, expert: 0 };
    return [
      { role: "expert", dtype: "BF16", ...place, ...base },
      { role: "momentum", dtype: "F32", ...place, ...momentum },
    ];
  });
  await writeFile(join(directory, "pieces.json"), JSON.stringify(pieces.flat()));
}
