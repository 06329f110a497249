/**
 * The owner's copies of all experts, for those who lack them: with bits where the domains' tokens use them, or all alike in four bits. They are made once
 * for a base, and are pieces like any others.
 */
import { expertMoments } from "../../engine/expert-moments.ts";
import { openHashMemo } from "../../model/hash-memo.ts";
import { type MakeStandInsOptions, makeStandIns, makeStandInsByUse } from "../../model/make-stand-ins.ts";
import { type Manifest, totalBytes } from "../../model/manifest.ts";
import type { StandInPolicy } from "../../model/stand-in-policy.ts";
import { allotBits } from "../../protocol/experts/allot-bits.ts";
import type { ExpertManager } from "../../protocol/experts/expert-manager.ts";
import type { RouterStatistics } from "../../protocol/experts/router-statistics.ts";
import type { Hash } from "../../protocol/hash.ts";
import { formatBytes } from "../../ui/format.ts";
import type { Context } from "../context.ts";
import { type MeasuredModel, observedSample } from "./select-experts.ts";

export interface StandInInput {
  readonly policy: StandInPolicy;
  readonly measured: MeasuredModel;
  /** Needed for those by use. */
  readonly statistics: RouterStatistics | undefined;
  readonly manager: ExpertManager;
  readonly dryRun: boolean | undefined;
}

/** What was made before a stop is not made again, as far as the same is wanted. */
export async function makeTaskStandIns(
  { workspace, progress, threads, signal }: Context,
  { policy, measured, statistics, manager, dryRun }: StandInInput,
): Promise<Manifest> {
  const { objects } = workspace;
  const { checkpoint, indexed } = measured;
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
    const standIns =
      policy.kind === "q4-32" || statistics === undefined
        ? await makeStandIns(options)
        : await makeStandInsByUse(options, {
            architecture: checkpoint.architecture,
            allotted: allotBits(statistics, manager.layers(), manager.groups, policy.bits),
            layers: expertMoments(observedSample(measured)),
          });
    progress.succeed(`${standIns.pieces.length} stand-ins made (${formatBytes(totalBytes(standIns.pieces))})`);
    return standIns;
  } finally {
    await memo.close();
  }
}
