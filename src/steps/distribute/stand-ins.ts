/**
 * The owner's copies of all experts, for those who lack them: with bits where the domains' tokens use them, or all alike in four bits. They are made once
 * for a base, and are pieces like any others.
 */
import { expertMoments } from "../../engine/expert-moments.ts";
import { ConnitoError } from "../../errors.ts";
import { openHashMemo } from "../../model/hash-memo.ts";
import { type MakeStandInsOptions, makeStandIns, makeStandInsByUse } from "../../model/make-stand-ins.ts";
import { type Manifest, totalBytes } from "../../model/manifest.ts";
import type { StandInPolicy } from "../../model/stand-in-policy.ts";
import { documentHash } from "../../protocol/canonical.ts";
import { allotBits } from "../../protocol/experts/allot-bits.ts";
import type { ExpertManager } from "../../protocol/experts/expert-manager.ts";
import type { RouterStatistics } from "../../protocol/experts/router-statistics.ts";
import { type Hash, isHash } from "../../protocol/hash.ts";
import { formatBytes } from "../../ui/format.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import { findManifest, storeManifest } from "../manifests.ts";
import { measurementId } from "./measure-base.ts";
import { type MeasuredModel, observedSample } from "./select-experts.ts";

export interface StandInInput {
  readonly policy: StandInPolicy;
  readonly measured: MeasuredModel;
  /** Needed for those by use. */
  readonly statistics: RouterStatistics | undefined;
  readonly manager: ExpertManager;
  readonly dryRun: boolean | undefined;
}

/** What was made before a stop is not made again, as far as the same is wanted: nor, once all are made, is the model run again to round them for its tokens. */
export async function makeTaskStandIns(context: Context, input: StandInInput): Promise<Manifest> {
  const { measured, policy, statistics, manager, dryRun } = input;
  if (policy.kind === "q4-32" || statistics === undefined) return makeAll(context, input, makeStandIns);
  const { workspace } = context;
  const allotted = allotBits(statistics, manager.layers(), manager.groups, policy.bits);
  const id = documentHash({ format: "connito/stand-ins-by-use/1", measurement: measurementId(measured), allotted: documentHash(allotted) });
  const note = workspace.layout.measurement(id);
  const known = await readKept(context, note);
  if (known && (await workspace.objects.absent(known.pieces.map(({ hash }) => hash))).length === 0) return known;
  const { architecture } = measured.checkpoint;
  const standIns = await makeAll(context, input, (options) =>
    makeStandInsByUse(options, { architecture, allotted, layers: expertMoments(observedSample(measured)) }),
  );
  if (!dryRun) await writeJson(note, { standIns: await storeManifest(workspace, standIns) });
  return standIns;
}

/** The stand-ins that a run before this one noted, where the note and their manifest can be read; what cannot only costs time. */
async function readKept({ workspace, progress }: Context, note: string): Promise<Manifest | undefined> {
  const unusable = (reason: string): undefined => {
    progress.note(`${note} cannot be used (${reason}): the stand-ins are made again.`);
  };
  try {
    const found = await readJson<{ readonly standIns?: unknown } | null>(note);
    if (found === undefined) return undefined;
    const root = found?.standIns;
    return isHash(root) ? await findManifest(workspace, root) : unusable("it names no manifest");
  } catch (error) {
    if (!(error instanceof ConnitoError && unusableCodes.has(error.code))) throw error;
    return unusable(error.message);
  }
}

const unusableCodes = new Set(["document-corrupt", "file-oversize", "manifest-invalid", "manifest-root-mismatch"]);

async function makeAll(
  { workspace, progress, threads, signal }: Context,
  { measured: { indexed }, dryRun }: StandInInput,
  make: (options: MakeStandInsOptions) => Promise<Manifest>,
): Promise<Manifest> {
  const { objects } = workspace;
  const memo = await openHashMemo(workspace.layout.hashes);
  try {
    progress.start("Making stand-ins", totalBytes(indexed.manifest.pieces.filter(({ role }) => role === "expert")), "bytes");
    const options: MakeStandInsOptions = {
      manifest: indexed.manifest,
      locate: (hash: Hash) => indexed.locations.get(hash),
      store: async (bytes: Uint8Array, hash: Hash) => (dryRun ? undefined : objects.put(bytes, hash)),
      ...(dryRun ? {} : { memo, has: (hash: Hash) => objects.has(hash) }),
      onProgress: (done: number) => progress.update(done),
      threads,
      signal,
    };
    const standIns = await make(options);
    progress.succeed(`${standIns.pieces.length} stand-ins made (${formatBytes(totalBytes(standIns.pieces))})`);
    return standIns;
  } finally {
    await memo.close();
  }
}
