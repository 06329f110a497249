/**
 * A validator keeps everything that the task names, so that miners get all they need from validators and not from the owner alone: stand-ins,
 * expert scores, training data. Fetched once for each task; afterwards there is nothing to do.
 */

import type { Context } from "../context.ts";
import { inParallel, peerSources, provideObject } from "../fetch.ts";
import { provideManifest } from "../manifests.ts";
import type { Membership } from "../membership.ts";
import { provideShards, provideTokenData } from "../task-data.ts";

/** Objects fetched at the same time: few, because nobody waits for this. */
const parallelFetches = 2;

export interface MirrorResult {
  readonly fetchedObjects: number;
  readonly fetchedBytes: number;
}

/** @throws the exchange's errors, retryable; what was fetched stays */
export async function mirrorTask(context: Context, membership: Membership): Promise<MirrorResult> {
  const { task } = membership;
  const sources = await peerSources(context, task);
  const standIns = await provideManifest(context, sources, task.model.standIns);
  const wanted = [
    { hash: task.experts.selection.scores, what: "the task's expert scores" },
    ...(task.experts.grouping === "even" ? [] : [{ hash: task.experts.grouping, what: "the task's grouping of experts" }]),
    ...standIns.pieces.map(({ hash, bytes, name }) => ({ hash, bytes, what: `the stand-in of ${name}` })),
  ];
  let fetchedObjects = 0;
  let fetchedBytes = 0;
  await inParallel(wanted, parallelFetches, async (object) => {
    context.signal.throwIfAborted();
    const bytes = await provideObject(context, sources, object);
    fetchedBytes += bytes;
    fetchedObjects += bytes > 0 ? 1 : 0;
  });
  for (const { name, train } of task.data.domains) {
    const what = `the training data of ${name}`;
    const shards = await provideShards(context, membership, await provideTokenData(context, membership, train, what), what);
    fetchedObjects += shards.objects;
    fetchedBytes += shards.bytes;
  }
  return { fetchedObjects, fetchedBytes };
}
