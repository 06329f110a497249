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
import { formatBytes } from "../../ui/format.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import { assignedGroup, viewCycle } from "../cycle-view.ts";
import { inParallel, peerSources, provideObject } from "../fetch.ts";
import { findManifest, provideManifest } from "../manifests.ts";
import type { Membership } from "../membership.ts";
import { checkOutput, withOutput } from "../output-lock.ts";
import { publishFile, publishObjects } from "../publish.ts";
import { pruneVersions } from "./prune.ts";
import { pruneCycles } from "./prune-cycles.ts";
import { taskGrouping } from "./task-grouping.ts";
import { tellVersionNews } from "./version-news.ts";

/** Pieces fetched at the same time. More than the disk needs, fewer than would crowd out other peers of the same validator. */
const parallelFetches = 8;

export interface SliceInput {
  readonly root: Hash;
  readonly group: number | "whole";
  /** Also write the slice as one safetensors file here. */
  readonly file?: string;
  /** Afterwards remove what only older versions need (prune.ts), and what is large of cycles long before this one (prune-cycles.ts). */
  readonly prune?: { readonly cycle: number };
}

export interface SliceResult {
  readonly root: Hash;
  readonly group: number | "whole";
  readonly pieces: number;
  readonly bytes: SlicePlan["bytes"];
  /** What had to come from peers. */
  readonly fetchedPieces: number;
  readonly fetchedBytes: number;
  /** What was here already. */
  readonly presentBytes: number;
  /** Against the slice that was whole here before, where that was another: how much both share, and how much is new. */
  readonly previous?: {
    readonly root: Hash;
    readonly group: number | "whole";
    readonly sharedBytes: number;
    readonly changedBytes: number;
  };
  /** Bytes of older versions and cycles that were removed; only where that was asked for. */
  readonly prunedBytes?: number;
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
  const manager = createExpertManager(expertLayout(architecture), membership.task.experts.groups, await taskGrouping(context, membership));
  const plan = planSlice({ manifest, ...(standIns && { standIns }), manager, group: input.group });
  return { root: input.root, manifest, architecture, plan, manager };
}

/**
 * Brings the slice here.
 * @throws usage or file-irregular, before anything is fetched, for a file that cannot be written; the exchange's errors when no peer delivers a piece that matches its hash; what was fetched stays.
 */
export async function slice(context: Context, membership: Membership, input: SliceInput): Promise<SliceResult> {
  const { workspace, progress } = context;
  if (input.file !== undefined) await checkOutput(input.file, "file");
  const resolved = await resolveSlice(context, membership, input);
  const { manifest, plan } = resolved;
  const sources = await peerSources(context, membership.task);

  const absent = new Set(await workspace.objects.absent(new Set(plan.pieces.map((piece) => piece.hash))));
  const missing = onePerHash(plan.pieces).filter((piece) => absent.has(piece.hash));
  const presentBytes = totalBytes(onePerHash(plan.pieces)) - totalBytes(missing);
  let fetchedBytes = 0;
  let fetchedPieces = 0;
  progress.start("Fetching pieces", totalBytes(missing), "bytes");
  try {
    await provideObject(context, sources, { hash: manifest.tokenizer, what: "the model's tokenizer.json" });
    await inParallel(missing, parallelFetches, async (piece) => {
      context.signal.throwIfAborted();
      const bytes = await provideObject(context, sources, { hash: piece.hash, bytes: piece.bytes, what: `piece ${piece.name}` });
      fetchedBytes += bytes;
      fetchedPieces += 1;
      progress.update(fetchedBytes);
    });
    progress.succeed(`${fetchedPieces} pieces fetched (${formatBytes(fetchedBytes)}); ${formatBytes(presentBytes)} were here`);
  } catch (error) {
    progress.fail();
    throw error;
  }

  await publishFile(context, `/manifests/${input.root}.json`, workspace.layout.manifest(input.root));
  if (input.group === "whole")
    await publishObjects(context, [manifest.config, manifest.tokenizer, ...plan.pieces.map((piece) => piece.hash)]);
  if (input.file !== undefined) await writeFile(context, plan, input.file);
  const previous = await compareWithLast(context, membership, resolved, input);
  const prunedBytes = input.prune && (await pruneVersions(context, membership, resolved)) + (await pruneCycles(context, input.prune.cycle));
  return {
    root: input.root,
    group: input.group,
    pieces: plan.pieces.length,
    bytes: plan.bytes,
    fetchedPieces,
    fetchedBytes,
    presentBytes,
    ...(previous && { previous }),
    ...(prunedBytes === undefined ? {} : { prunedBytes }),
    ...(input.file === undefined ? {} : { file: input.file }),
  };
}

/** Pieces with the same bytes are one object: they are fetched, and counted, once. */
function onePerHash(pieces: readonly Piece[]): Piece[] {
  return [...new Map(pieces.map((piece) => [piece.hash, piece])).values()];
}

/** How this slice differs from the one that was whole before, which it takes the place of in the notes. */
async function compareWithLast(
  { workspace }: Context,
  membership: Membership,
  { plan, manager }: Slice,
  { root, group }: SliceInput,
): Promise<SliceResult["previous"]> {
  const last = await readJson<Pick<SliceInput, "root" | "group">>(workspace.layout.slice);
  if (last?.root === root && last.group === group) return undefined;
  await writeJson(workspace.layout.slice, { root, group });
  const manifest = last && (await findManifest(workspace, last.root));
  const standIns = await findManifest(workspace, membership.task.model.standIns);
  if (last === undefined || manifest === undefined || (last.group !== "whole" && standIns === undefined)) return undefined;
  const before = planSlice({ manifest, ...(standIns && { standIns }), manager, group: last.group });
  const known = new Set(before.pieces.map((piece) => piece.hash));
  const [shared, changed] = [true, false].map((both) => totalBytes(onePerHash(plan.pieces).filter(({ hash }) => known.has(hash) === both)));
  return { root: last.root, group: last.group, sharedBytes: shared as number, changedBytes: changed as number };
}

/** The slice as a file. A piece that changed on the disk is dropped, so that the next run fetches it. */
async function writeFile({ workspace, progress, threads, signal }: Context, plan: SlicePlan, file: string): Promise<void> {
  progress.start("Writing the slice", totalBytes(plan.pieces), "bytes");
  try {
    await withOutput(file, "file", () =>
      writeSliceFile(plan, file, {
        locate: (hash) => workspace.objects.locate(hash),
        onMismatch: (piece) => workspace.objects.remove(piece.hash),
        onProgress: (done) => progress.update(done),
        threads,
        signal,
      }),
    );
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
    await tellVersionNews(context, view);
    const group = kind === "whole" ? "whole" : assignedGroup(view, context.signer.address);
    return slice(context, membership, { root: view.base, group, prune: { cycle } });
  };
}
