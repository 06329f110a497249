/**
 * What a participant lets others have over HTTP: the exchange's paths, answered from the workspace as it stands.
 */

import type { Publication, Published } from "../exchange/exchange.ts";
import { maximumManifestBytes } from "../model/manifest.ts";
import { windowOf } from "../protocol/clock.ts";
import type { Hash } from "../protocol/hash.ts";
import { maximumReportBytes } from "../protocol/report.ts";
import { readBounded } from "../workspace/files.ts";
import type { Context } from "./context.ts";
import { reportPath } from "./evaluate/reports.ts";
import type { Membership } from "./membership.ts";
import { findSubmission } from "./train/submissions.ts";

/** Whether the requester counts as a validator of the subnet now. */
export type ValidatorCheck = (hotkey: string) => Promise<boolean>;

/** Answers requests from the workspace. Held-out data goes to validators only, a submission only once its commit window is closed for good. */
export function createPublication(context: Context, { task, taskHash }: Membership, isValidator: ValidatorCheck): Publication {
  const { workspace } = context;

  const object = async (hash: Hash, requester: string): Promise<Published> => {
    const heldOut = task.data.domains.some((domain) => domain.heldOut === hash);
    if (heldOut && !(await isValidator(requester))) return "forbidden";
    return workspace.objects.locate(hash);
  };

  const submission = async (root: Hash): Promise<Published> => {
    const found = await findSubmission(workspace, root);
    if (found === undefined) return undefined;
    const { finalized } = await context.clock.now();
    const open = finalized.number >= windowOf(task, found.cycle, "commit").last;
    return open ? { file: found.file, offset: 0, bytes: found.bytes } : "forbidden";
  };

  return {
    resolve(_path, requester, resource) {
      switch (resource.kind) {
        case "task":
          return workspace.objects.locate(taskHash);
        case "task-document":
          return object(resource.hash, requester);
        case "manifest":
          return readBounded(workspace.layout.manifest(resource.root), maximumManifestBytes);
        case "object":
          return object(resource.hash, requester);
        case "submission":
          return submission(resource.root);
        case "report":
          return readBounded(reportPath(workspace, resource.cycle, resource.hotkey), maximumReportBytes);
      }
    },
  };
}
