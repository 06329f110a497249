/** A slice's values, read from the workspace and checked piece by piece, as the engine wants them. */

import type { Tensors } from "../model/tensors.ts";
import { type LoadWeights, loadWeights, tensorsOfPieces, weightLoader } from "../model/weights.ts";
import type { Context } from "./context.ts";
import type { Slice } from "./distribute/slice.ts";

/** All of the model's tensors by name, fp32; stand-ins in place of the experts that the slice does not have. */
export function sliceWeights({ workspace, signal }: Context, { plan, architecture }: Slice): Promise<Map<string, Float32Array>> {
  return loadWeights({ pieces: plan.pieces, architecture, signal, readPiece: (piece) => workspace.objects.stream(piece.hash) });
}

/** The same tensors by name, each read when it is asked for. */
export function sliceLoader({ workspace }: Context, { plan, architecture }: Slice): LoadWeights {
  return weightLoader({ pieces: plan.pieces, architecture, readPiece: (piece) => workspace.objects.stream(piece.hash) });
}

/** The outer optimizer's momentum by expert tensor, as far as the version has any. */
export function sliceMomentum({ workspace }: Context, { manifest }: Slice): Tensors {
  const pieces = manifest.pieces.filter((piece) => piece.role === "momentum");
  return tensorsOfPieces(pieces, (piece) => workspace.objects.stream(piece.hash));
}
