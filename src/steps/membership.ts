/**
 * Joining: which task does the subnet run? The owner hotkey's record on the chain names the task by hash; the document comes from
 * wherever it can be had and is checked against that hash.
 */

import { ConnitoError } from "../errors.ts";
import type { Hash } from "../protocol/hash.ts";
import type { Task } from "../protocol/task.ts";
import { parseTask, taskHash } from "../protocol/task.ts";
import { participantsAt } from "./chain-records.ts";
import type { Context } from "./context.ts";
import { maximumDocumentBytes, peerSources, provideObject } from "./fetch.ts";

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
  const early = await participantsAt(context.chain, context.netuid, undefined, finalized.hash);
  if (early.ownerRecord === undefined) {
    throw new ConnitoError(`The owner of subnet ${context.netuid} has published no task (seen at block ${finalized.number}).`, {
      code: "no-task",
      exit: "notInitialised",
      retryable: true,
      hint: "The owner runs `connito task create`. Check --netuid and --network, then try again.",
    });
  }
  const hash = early.ownerRecord.taskHash;
  await provideObject(context, await peerSources(context), { hash, maximumBytes: maximumDocumentBytes, what: "the task document" });
  const task = parseTask(JSON.parse(Buffer.from(await context.workspace.objects.read(hash)).toString("utf8")));
  if (task.netuid !== context.netuid || taskHash(task) !== hash) {
    throw new ConnitoError(`The task ${hash} names subnet ${task.netuid}, not ${context.netuid}, or is not in canonical form.`, {
      code: "task-mismatch",
      exit: "verification",
      hint: "The owner published a document for another subnet; ask the owner, and do not work on it.",
    });
  }
  return { task, taskHash: hash };
}
