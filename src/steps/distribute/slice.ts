/**
 * A slice of the model on this machine: the pieces of one group (or all of them) at one version, fetched from peers as far as they
 * are missing, each verified against the manifest whose root the chain names. Stopped half-way it goes on where it was; a new version
 * costs only what changed. Nothing is copied: a slice is a view of verified pieces, unless a safetensors file is asked for.
 */

import { type Architecture, readArchitecture } from "../../model/families/index.ts";
import { type Manifest, totalBytes } from "../../model/manifest.ts";
import type { Piece } from "../../model/pieces.ts";
import { expertLayout, planSlice, type SlicePlan, writeSliceFile } from "../../model/slice.ts";
import type { ExpertManager } from "../../protocol/experts/expert-manager.ts";
import { createExpertManager } from "../../protocol/experts/expert-manager.ts";
import type { Hash } from "../../protocol/hash.ts";
import type { Context } from "../context.ts";
import { assignedGroup, viewCycle } from "../cycle-view.ts";
import { inParallel, peerSources, provideObject } from "../fetch.ts";
import { provideManifest } from "../manifests.ts";
import type { Membership } from "../membership.ts";
import { publishFile, publishObjects } from "../publish.ts";

/** Pieces fetched at the same time. More than the disk needs, fewer than would crowd out other peers of the same validator. */
const parallelFetches = 8;

export interface SliceInput {
  readonly root: Hash;
  readonly group: number | "whole";
  /** Also write the slice as one safetensors file here. */
  readonly file?: string;
}

export interface SliceResult {
  readonly root: Hash;
  readonly group: number | "whole";
  readonly pieces: number;
  readonly bytes: SlicePlan["bytes"];
  /** What had to come from peers; the rest was here already. */
  readonly fetchedPieces: number;
  readonly fetchedBytes: number;
  readonly file?: string;
}

/** Everything that reading a slice needs, in one hand. */
export interface Slice {
  readonly root: Hash;
  readonly manifest: Manifest;
  readonly architecture: Architecture;
  readonly plan: SlicePlan;
  readonly manager: ExpertManager;
}

/** Plans the slice from verified manifests, which are fetched when they are missing; its pieces may still be elsewhere. */
export async function resolveSlice(context: Context, membership: Membership, input: Pick<SliceInput, "root" | "group">): Promise<Slice> {
  const sources = await peerSources(context, membership.task);
  const manifest = await provideManifest(context, sources, input.root);
  const standIns = input.group === "whole" ? undefined : await provideManifest(context, sources, membership.task.model.standIns);
  await provideObject(context, sources, { hash: manifest.config, what: "the model's config.json" });
  const config = JSON.parse(Buffer.from(await context.workspace.objects.read(manifest.config)).toString("utf8"));
  const architecture = readArchitecture(config, new Set(manifest.pieces.map((piece) => piece.name)));
  const manager = createExpertManager(expertLayout(architecture), membership.task.experts.groups);
  const plan = planSlice({ manifest, ...(standIns && { standIns }), manager, group: input.group });
  return { root: input.root, manifest, architecture, plan, manager };
}

/**
 * Brings the slice here.
 * @throws the exchange's errors when no peer delivers a piece that matches its hash; what was fetched stays.
 */
export async function slice(context: Context, membership: Membership, input: SliceInput): Promise<SliceResult> {
  const { workspace, progress } = context;
  const resolved = await resolveSlice(context, membership, input);
  const { manifest, plan } = resolved;
  const sources = await peerSources(context, membership.task);

  const missing: Piece[] = [];
  for (const piece of plan.pieces) if (!(await workspace.objects.has(piece.hash))) missing.push(piece);
  let fetchedBytes = 0;
  let fetchedPieces = 0;
  progress.start("Fetching pieces", missing.length);
  try {
    await provideObject(context, sources, { hash: manifest.tokenizer, what: "the model's tokenizer.json" });
    await inParallel(missing, parallelFetches, async (piece) => {
      context.signal.throwIfAborted();
      const bytes = await provideObject(context, sources, { hash: piece.hash, bytes: piece.bytes, what: `piece ${piece.name}` });
      fetchedBytes += bytes;
      fetchedPieces += 1;
      progress.update(fetchedPieces);
    });
    progress.succeed(`${fetchedPieces} of ${plan.pieces.length} pieces fetched`);
  } catch (error) {
    progress.fail();
    throw error;
  }

  await publishFile(context, `/manifests/${input.root}.json`, workspace.layout.manifest(input.root));
  if (input.group === "whole")
    await publishObjects(context, [manifest.config, manifest.tokenizer, ...plan.pieces.map((piece) => piece.hash)]);
  if (input.file !== undefined) await writeFile(context, plan, input.file);
  return {
    root: input.root,
    group: input.group,
    pieces: plan.pieces.length,
    bytes: plan.bytes,
    fetchedPieces,
    fetchedBytes,
    ...(input.file === undefined ? {} : { file: input.file }),
  };
}

/** The slice as a file. A piece that changed on the disk is dropped, so that the next run fetches it. */
async function writeFile({ workspace, progress, threads, signal }: Context, plan: SlicePlan, file: string): Promise<void> {
  progress.start("Writing the slice", totalBytes(plan.pieces));
  try {
    await writeSliceFile(plan, file, {
      locate: (hash) => workspace.objects.locate(hash),
      onMismatch: (piece) => workspace.objects.remove(piece.hash),
      onProgress: (done) => progress.update(done),
      threads,
      signal,
    });
    progress.succeed(`Written to ${file}`);
  } catch (error) {
    progress.fail();
    throw error;
  }
}

/** The slice that a role needs for a cycle: all of the version, or the group that this hotkey is assigned. */
export function sliceForCycle(kind: "whole" | "assigned") {
  return async (context: Context, membership: Membership, { cycle }: { cycle: number }): Promise<SliceResult> => {
    const view = await viewCycle(context, membership, cycle);
    const group = kind === "whole" ? "whole" : assignedGroup(view, context.signer.address);
    return slice(context, membership, { root: view.base, group });
  };
}
