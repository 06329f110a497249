/**
 * What a participant lets others have over HTTP: the exchange's paths, answered from the workspace as it stands.
 */

import { stat } from "node:fs/promises";
import type { Publication, Published } from "../exchange/exchange.ts";
import { fileExists } from "../files/reading.ts";
import { windowOf } from "../protocol/clock.ts";
import { maximumGroupResultBytes } from "../protocol/group-result.ts";
import type { Hash } from "../protocol/hash.ts";
import { maximumReportBytes } from "../protocol/report.ts";
import { readBounded } from "../workspace/files.ts";
import type { Context } from "./context.ts";
import { groupResultPath } from "./evaluate/group-results.ts";
import { reportPath, reportsAreOpen } from "./evaluate/reports.ts";
import type { Membership } from "./membership.ts";
import { findTokenData } from "./task-data.ts";
import { findSubmission } from "./train/submissions.ts";

/** Whether the requester counts as a validator of the subnet now. */
export type ValidatorCheck = (hotkey: string) => Promise<boolean>;

/** Answers requests from the workspace. Held-out data goes to validators only, a submission only once its commit window is closed for good, a report once its score window is. */
export function createPublication(context: Context, { task, taskHash }: Membership, isValidator: ValidatorCheck): Publication {
  const { workspace } = context;

  /** Held-out documents with their shards. A document that is not here has no shards here either, and is looked for again. */
  const heldOut = new Map<Hash, ReadonlySet<Hash>>();
  const isHeldOut = async (hash: Hash): Promise<boolean> => {
    for (const { heldOut: document } of task.data.domains) {
      if (hash === document) return true;
      if (!heldOut.has(document)) {
        const data = await findTokenData(context, document);
        if (data !== undefined) heldOut.set(document, new Set(data.shards.map((shard) => shard.hash)));
      }
      if (heldOut.get(document)?.has(hash)) return true;
    }
    return false;
  };

  const object = async (hash: Hash, requester: string): Promise<Published> => {
    if ((await isHeldOut(hash)) && !(await isValidator(requester))) return "forbidden";
    return workspace.objects.locate(hash);
  };

  const submission = async (root: Hash): Promise<Published> => {
    const found = await findSubmission(workspace, root);
    if (found === undefined) return undefined;
    const { finalized } = await context.clock.now();
    const open = finalized.number >= windowOf(task, found.cycle, "commit").last;
    return open ? { file: found.file, offset: 0, bytes: found.bytes } : "forbidden";
  };

  const report = async (cycle: number, hotkey: string): Promise<Published> => {
    if (!(await reportsAreOpen(context, { task }, cycle))) return "forbidden";
    return readBounded(reportPath(workspace, cycle, hotkey), maximumReportBytes);
  };

  return {
    resolve(_path, requester, resource) {
      switch (resource.kind) {
        case "task":
          return workspace.objects.locate(taskHash);
        case "task-document":
          return object(resource.hash, requester);
        case "manifest":
          return wholeFile(workspace.layout.manifest(resource.root));
        case "object":
          return object(resource.hash, requester);
        case "submission":
          return submission(resource.root);
        case "report":
          return report(resource.cycle, resource.hotkey);
        case "group-result":
          return readBounded(groupResultPath(workspace, resource.cycle, resource.group, resource.hotkey), maximumGroupResultBytes);
      }
    },
  };
}

/** A file to be streamed, however long: the manifest of a large model has tens of megabytes. */
async function wholeFile(file: string): Promise<Published> {
  if (!(await fileExists(file))) return undefined;
  return { file, offset: 0, bytes: (await stat(file)).size };
}
