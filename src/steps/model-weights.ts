/** A slice's values, read from the workspace and checked piece by piece, as the engine wants them. */

import { loadWeights, readAllValues } from "../model/weights.ts";
import type { Context } from "./context.ts";
import type { Slice } from "./distribute/slice.ts";

/** All of the model's tensors by name, fp32; stand-ins in place of the experts that the slice does not have. */
export function sliceWeights({ workspace, signal }: Context, { plan, architecture }: Slice): Promise<Map<string, Float32Array>> {
  return loadWeights({ pieces: plan.pieces, architecture, signal, readPiece: (piece) => workspace.objects.stream(piece.hash) });
}

/** The outer optimizer's momentum by expert tensor, as far as the version has any. */
export function sliceMomentum({ workspace }: Context, { manifest }: Slice): Promise<Map<string, Float32Array>> {
  const pieces = manifest.pieces.filter((piece) => piece.role === "momentum");
  return readAllValues(pieces, (piece) => workspace.objects.stream(piece.hash));
}
