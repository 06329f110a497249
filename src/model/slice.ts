/**
 * Slices (docs/protocol.md, section 4): which pieces a miner of one group, or a validator, needs of a version; and a slice as one
 * safetensors file that any other tool opens. A slice as a view is the same list of pieces, read where they lie.
 */
import { ConnitoError } from "../errors.ts";
import type { Location } from "../files/reading.ts";
import type { ExpertLayout, ExpertManager } from "../protocol/experts/expert-manager.ts";
import type { Hash } from "../protocol/hash.ts";
import type { Architecture } from "./families/index.ts";
import { type Manifest, manifestRoot, totalBytes } from "./manifest.ts";
import { isStandInDtype, missingPiece, type Piece, pieceKey, pieceName, type Role } from "./pieces.ts";
import { readHeader } from "./safetensors.ts";
import { type PiecesFile, type TensorOfPieces, type WritePiecesOptions, writePieces } from "./write-pieces.ts";

/** Layers with experts, rising, as the expert manager discovers them. */
export function expertLayout(architecture: Architecture): ExpertLayout {
  return { layers: architecture.expertLayers.map((layer) => ({ layer, experts: architecture.experts })) };
}

export interface SlicePlan {
  /** Root of the version that is sliced, and of the stand-ins where there are any in the slice. */
  readonly version: Hash;
  readonly standIns?: Hash;
  readonly group: number | "whole";
  readonly config: Hash;
  readonly tokenizer: Hash;
  /** In canonical order. */
  readonly pieces: readonly Piece[];
  readonly bytes: { readonly backbone: number; readonly experts: number; readonly momentum: number; readonly standIns: number };
}

export interface PlanSliceOptions {
  readonly manifest: Manifest;
  /** Those of the base, needed for a group's slice; `none` leaves the other groups' experts out, as of a checkpoint whose packed experts have no stand-ins. */
  readonly standIns?: Manifest | "none";
  readonly manager: Pick<ExpertManager, "expertsOf">;
  readonly group: number | "whole";
}

/**
 * The pieces of a slice. Throws `slice-mismatch` where the manifests and the groups are not of one model, `piece-missing` where an
 * expert of another group has no stand-in.
 */
export function planSlice({ manifest, standIns, manager, group }: PlanSliceOptions): SlicePlan {
  const { config, tokenizer } = manifest;
  const whole = { version: manifestRoot(manifest), group, config, tokenizer };
  if (group === "whole") return { ...whole, pieces: manifest.pieces, bytes: countBytes(manifest.pieces) };
  const others = standIns === "none" ? undefined : standIns;
  if (standIns !== "none" && (others?.config !== config || others.tokenizer !== tokenizer))
    throw mismatch("the stand-ins are not of this model");

  const inGroup = new Set(manager.expertsOf(group).flatMap(({ layer, experts }) => experts.map((expert) => `${layer}/${expert}`)));
  const found = new Set<string>();
  const isOwn = ({ layer, expert }: Piece) => inGroup.has(`${layer}/${expert}`);
  // Of an expert that was merged the version has a stand-in of its own.
  const merged = manifest.pieces.filter(({ role }) => role === "stand-in");
  const standInOf = new Map([...(others?.pieces ?? []), ...merged].map((piece) => [pieceName(piece), piece]));
  const own: Piece[] = [];
  const stands: Piece[] = [];
  for (const piece of manifest.pieces) {
    if (piece.role === "backbone") own.push(piece);
    if (piece.role !== "expert") continue;
    if (isOwn(piece)) {
      own.push(piece);
      found.add(`${piece.layer}/${piece.expert}`);
      continue;
    }
    if (others === undefined) continue;
    const standIn = standInOf.get(pieceName(piece));
    if (standIn === undefined || standIn.role !== "stand-in") throw missingPiece({ ...piece, role: "stand-in" });
    if (`${standIn.shape}` !== `${piece.shape}`) throw mismatch(`the stand-in of ${pieceName(piece)} has another shape`);
    stands.push(standIn);
  }
  if (found.size !== inGroup.size) throw mismatch(`group ${group} has experts that the model does not have`);
  const pieces = [...own, ...stands];
  return { ...whole, ...(others && { standIns: manifestRoot(others) }), pieces, bytes: countBytes(pieces) };
}

function countBytes(pieces: readonly Piece[]): SlicePlan["bytes"] {
  const of = (role: Role) => totalBytes(pieces.filter((piece) => piece.role === role));
  return { backbone: of("backbone"), experts: of("expert"), momentum: of("momentum"), standIns: of("stand-in") };
}

/**
 * Writes a slice in one pass on all cores (write-pieces.ts). Backbone and expert tensors keep their names (a fused expert
 * `NAME#EXPERT`); momentum is `NAME.momentum`, a stand-in the U8 tensor `NAME.q4_32` (its encoding) whose tensor shape stands in the metadata under
 * the same name. Throws `piece-missing`, `piece-mismatch`, and what reading and writing files throws.
 */
export function writeSliceFile(plan: SlicePlan, path: string, options: WritePiecesOptions): Promise<PiecesFile> {
  const metadata: Record<string, string> = { format: "connito/slice/1", version: plan.version, group: `${plan.group}` };
  if (plan.standIns !== undefined) metadata.standIns = plan.standIns;
  const tensors = plan.pieces.map((piece): TensorOfPieces => {
    const name = tensorName(piece);
    if (!isStandInDtype(piece.dtype)) return { name, dtype: piece.dtype, shape: piece.shape, pieces: [piece] };
    metadata[name] = JSON.stringify(piece.shape);
    return { name, dtype: "U8", shape: [piece.bytes], pieces: [piece] };
  });
  return writePieces(path, tensors, metadata, options);
}

/**
 * Where the pieces of a plan lie in a slice file that somebody wrote. Lengths are checked here, hashes by whoever reads a piece.
 * Throws SafetensorsError, `piece-missing`, `slice-mismatch`.
 */
export async function locateSlice(plan: SlicePlan, path: string): Promise<Map<Hash, Location>> {
  const { tensors } = await readHeader(path);
  const locations = new Map<Hash, Location>();
  for (const piece of plan.pieces) {
    const entry = tensors.get(tensorName(piece));
    if (entry === undefined) throw missingPiece(piece);
    if (entry.bytes !== piece.bytes) throw mismatch(`${path} has ${entry.bytes} bytes of ${pieceKey(piece)} instead of ${piece.bytes}`);
    locations.set(piece.hash, { file: path, offset: entry.offset, bytes: entry.bytes });
  }
  return locations;
}

function tensorName(piece: Piece): string {
  const suffix: Partial<Record<Role, string>> = { momentum: ".momentum", "stand-in": `.${piece.dtype.toLowerCase()}` };
  return `${pieceName(piece)}${suffix[piece.role] ?? ""}`;
}

function mismatch(detail: string): ConnitoError {
  return new ConnitoError(`cannot slice: ${detail}`, {
    code: "slice-mismatch",
    exit: "verification",
    hint: "Use the manifest, the stand-ins and the groups that one task names.",
  });
}
