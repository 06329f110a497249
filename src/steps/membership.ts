/**
 * Joining: which task does the subnet run? The owner hotkey's record on the chain names the task by hash; the document comes from
 * wherever it can be had and is checked against that hash.
 */

import { ConnitoError } from "../errors.ts";
import { collectBytes, type Source } from "../exchange/exchange.ts";
import { type Hash, sha256, toHex } from "../protocol/hash.ts";
import type { Task } from "../protocol/task.ts";
import { parseTask, taskHash } from "../protocol/task.ts";
import { participantsAt } from "./chain-records.ts";
import type { Context } from "./context.ts";
import { firstDelivered, maximumDocumentBytes, peerSources, provideObject } from "./fetch.ts";

export interface Membership {
  readonly task: Task;
  readonly taskHash: Hash;
}

/**
 * Reads the subnet's task from the finalised chain and fetches its document.
 * @throws no-task when the subnet's owner has not published one.
 */
export async function joinTask(context: Context): Promise<Membership> {
  const { finalized } = await context.clock.now();
  const hash = await publishedTask(context);
  if (hash === undefined) {
    throw new ConnitoError(`The owner of subnet ${context.netuid} has published no task (seen at block ${finalized.number}).`, {
      code: "no-task",
      exit: "notInitialised",
      retryable: true,
      hint: "The owner runs `connito task create`. Check --netuid and --network, then try again.",
    });
  }
  await provideObject(context, await peerSources(context), { hash, maximumBytes: maximumDocumentBytes, what: "the task document" });
  return membershipOf(context, hash, await context.workspace.objects.read(hash));
}

/** What can be known of the subnet's task without keeping anything: its hash where one is published, and its document where somebody has it. */
export async function lookForTask(context: Context): Promise<{ readonly taskHash?: Hash; readonly membership?: Membership }> {
  const hash = await publishedTask(context);
  if (hash === undefined) return {};
  const { objects } = context.workspace;
  const bytes = (await objects.has(hash)) ? await objects.read(hash) : await download(context, hash);
  return { taskHash: hash, ...(bytes && { membership: membershipOf(context, hash, bytes) }) };
}

async function publishedTask(context: Context): Promise<Hash | undefined> {
  const { finalized } = await context.clock.now();
  return (await participantsAt(context.chain, context.netuid, undefined, finalized.hash)).ownerRecord?.taskHash;
}

/** A document from the first peer that delivers it unaltered, into memory; undefined where none does within seconds. */
export async function download(context: Context, hash: Hash): Promise<Uint8Array | undefined> {
  const ask = async (source: Source, signal: AbortSignal) => {
    const stream = await source.get(`/objects/${hash}`, { maximumBytes: maximumDocumentBytes, signal });
    const bytes = await collectBytes(stream, maximumDocumentBytes);
    if (toHex(sha256(bytes)) !== hash) throw new Error(`${source.locator} delivered something else than ${hash}`);
    return bytes;
  };
  return firstDelivered(await peerSources(context), ask, context.signal);
}

function membershipOf({ netuid }: Context, hash: Hash, bytes: Uint8Array): Membership {
  const task = parseTask(JSON.parse(Buffer.from(bytes).toString("utf8")));
  if (task.netuid !== netuid || taskHash(task) !== hash) {
    throw new ConnitoError(`The task ${hash} names subnet ${task.netuid}, not ${netuid}, or is not in canonical form.`, {
      code: "task-mismatch",
      exit: "verification",
      hint: "The owner published a document for another subnet; ask the owner, and do not work on it.",
    });
  }
  return { task, taskHash: hash };
}
