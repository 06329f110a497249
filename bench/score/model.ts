/** Random models for `npm run bench -- score`, read from their checkpoint stage by stage. */

import type { Checkpoint } from "../../src/model/checkpoint.ts";
import { familyNamed, listWeights } from "../../src/model/families/index.ts";
import { indexCheckpoint } from "../../src/model/index-checkpoint.ts";
import { initializeCheckpoint } from "../../src/model/initialize.ts";
import { type Piece, pieceName, readPieceFrom } from "../../src/model/pieces.ts";
import { readValues } from "../../src/model/weights.ts";

export const vocabularySize = 512;

export interface Sizes {
  readonly hiddenSize: number;
  readonly layers: number;
  readonly intermediateSize: number;
  readonly experts: number;
}

export function makeModel(directory: string, sizes: Sizes): Promise<Checkpoint> {
  const config = familyNamed("qwen3_moe").newConfig?.({
    vocabularySize,
    heads: sizes.hiddenSize / 32,
    keyValueHeads: sizes.hiddenSize / 64,
    expertsPerToken: 2,
    normalizeTopK: true,
    ...sizes,
  });
  return initializeCheckpoint({ directory, config: config ?? {}, seed: "score" });
}

export type Load = (names: readonly string[]) => Promise<Map<string, Float32Array>>;

/** Reads weights by name, each checked against its hash. */
export async function loaderOf(checkpoint: Checkpoint): Promise<Load> {
  const { manifest, locations } = await indexCheckpoint(checkpoint);
  const pieces = new Map(manifest.pieces.map((piece) => [pieceName(piece), piece]));
  const readPiece = readPieceFrom((hash) => locations.get(hash));
  return async (names) => {
    const weights = new Map<string, Float32Array>();
    for (const name of names) weights.set(name, await readValues(pieces.get(name) as Piece, readPiece));
    return weights;
  };
}

/** The experts that a submission changes: the first few of each layer. */
export function changedNames({ architecture }: Checkpoint, layer: number, experts: number): string[] {
  return listWeights(architecture)
    .filter((spec) => spec.layer === layer && spec.expert !== undefined && spec.expert < experts)
    .map(({ name }) => name);
}

/** A submission's delta to one tensor: small, and another for each submission. */
export function perturbed(values: Float32Array, submission: number): Float32Array {
  return values.map((value, index) => value + 1e-3 * (((index * (submission + 3)) % 17) / 17 - 0.5));
}
