/** A small base for tests: a checkpoint, its manifest and stand-ins, and everything's bytes. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import type { Location } from "../../src/files/reading.ts";
import type { Checkpoint } from "../../src/model/checkpoint.ts";
import { indexCheckpoint } from "../../src/model/index-checkpoint.ts";
import { initializeCheckpoint } from "../../src/model/initialize.ts";
import { type MakeStandInsOptions, makeStandIns, makeStandInsByUse } from "../../src/model/make-stand-ins.ts";
import type { Manifest } from "../../src/model/manifest.ts";
import { type ReadPiece, readPieceFrom } from "../../src/model/pieces.ts";
import { expertLayout } from "../../src/model/slice.ts";
import { createExpertManager, type ExpertManager } from "../../src/protocol/experts/expert-manager.ts";
import { locateIn, tinyConfig } from "./support.ts";

export interface Example {
  readonly checkpoint: Checkpoint;
  readonly manifest: Manifest;
  readonly standIns: Manifest;
  readonly manager: ExpertManager;
  readonly readPiece: ReadPiece;
  readonly locate: (hash: string) => Location | undefined;
  /** What was stored: the stand-ins, and whatever a test adds. */
  readonly objects: Map<string, Uint8Array>;
}

/** Stand-ins are `q4-32`; or, where `mixed`, of 0, 2, 3 and 4 bits in turn, as by use. */
export async function makeExample(
  directory: string,
  config: Record<string, unknown> = tinyConfig,
  { mixed = false }: { readonly mixed?: boolean } = {},
): Promise<Example> {
  return exampleOf(await initializeCheckpoint({ directory: join(directory, "base"), config, seed: "example" }), directory, 2, mixed);
}

/** The same of a checkpoint that is there. */
export async function exampleOf(checkpoint: Checkpoint, directory: string, groups = 2, mixed = false): Promise<Example> {
  const { manifest, locations } = await indexCheckpoint(checkpoint);
  const fromBase = readPieceFrom((hash) => locations.get(hash));
  const objects = new Map<string, Uint8Array>();
  const store = async (bytes: Uint8Array, hash: string) => objects.set(hash, bytes);
  const locate = locateIn(mkdtempSync(join(directory, "objects-")), objects, locations);
  const making = { manifest, locate: (hash: string) => locations.get(hash), store };
  const standIns = mixed ? await makeMixed(making, checkpoint) : await makeStandIns(making);
  const readPiece: ReadPiece = (piece) => {
    const bytes = objects.get(piece.hash);
    return bytes === undefined ? fromBase(piece) : Promise.resolve(bytes);
  };
  return {
    checkpoint,
    manifest,
    standIns,
    manager: createExpertManager(expertLayout(checkpoint.architecture), groups),
    readPiece,
    locate,
    objects,
  };
}

function makeMixed(making: MakeStandInsOptions, { architecture }: Checkpoint): Promise<Manifest> {
  const bits = Array.from({ length: architecture.experts }, (_, expert) => ([0, 2, 3, 4] as const)[expert % 4] ?? 0);
  const allotted = architecture.expertLayers.map((layer) => ({ layer, bits }));
  async function* layers() {
    for (const layer of architecture.expertLayers) yield { layer, experts: [] };
  }
  return makeStandInsByUse(making, { architecture, allotted, layers: layers() });
}
