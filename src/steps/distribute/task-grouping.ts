/** Level 0 as the task has it: the even split, or the grouping that the task names by hash. */

import { type ExpertGrouping, parseGrouping } from "../../protocol/experts/grouping.ts";
import type { Context } from "../context.ts";
import { peerSources, provideObject } from "../fetch.ts";
import type { Membership } from "../membership.ts";

/** The task's grouping, fetched if need be; undefined for the even split. Errors: grouping-invalid, the exchange's. */
export async function taskGrouping(context: Context, { task }: Membership): Promise<ExpertGrouping | undefined> {
  const { grouping: hash } = task.experts;
  if (hash === "even") return undefined;
  await provideObject(context, await peerSources(context, task), { hash, what: "the task's grouping of experts" });
  return parseGrouping(JSON.parse(Buffer.from(await context.workspace.objects.read(hash)).toString("utf8")));
}
