/**
 * What a participant lets others have. The same table serves both ways of publishing: over HTTP the paths are answered from the
 * workspace as it stands; in a shared directory the files are put at the same paths when a step makes them.
 */

import type { Publication, Published } from "../exchange/exchange.ts";
import { publishToDirectory } from "../exchange/directory.ts";
import { windowOf } from "../protocol/clock.ts";
import { ConnitoError } from "../errors.ts";
import type { Hash } from "../protocol/hash.ts";
import { readBounded } from "../workspace/files.ts";
import type { Context } from "./context.ts";
import { maximumManifestBytes } from "../model/manifest.ts";
import type { Membership } from "./membership.ts";
import { maximumReportBytes } from "../protocol/report.ts";
import { reportPath } from "./evaluate/reports.ts";
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

/** Where others find what this participant publishes. @throws locator-missing */
export function requireLocator(context: Pick<Context, "locator">): string {
  if (context.locator !== undefined) return context.locator;
  throw new ConnitoError("The record that goes on the chain has to say where others can fetch from.", {
    code: "locator-missing",
    exit: "usage",
    hint: "Give --publish file:/DIRECTORY for a directory that others can read, or http://HOST:PORT where `connito cycle run` serves.",
  });
}

/** Puts objects where a participant that publishes through a directory is looked for. Over HTTP nothing has to be done. */
export async function publishObjects(context: Context, hashes: Iterable<Hash>): Promise<void> {
  const directory = publishedDirectory(context);
  if (directory === undefined) return;
  for (const hash of hashes) {
    const location = await context.workspace.objects.locate(hash);
    if (location !== undefined) await publishToDirectory(directory, `/objects/${hash}`, location);
  }
}

/** Puts a file at a path of the exchange (a manifest, a submission, a report), if this participant publishes through a directory. */
export async function publishFile(context: Context, path: string, file: string): Promise<void> {
  const directory = publishedDirectory(context);
  if (directory !== undefined) await publishToDirectory(directory, path, { file });
}

function publishedDirectory(context: Context): string | undefined {
  return context.locator?.startsWith("file:") ? context.locator.slice("file:".length) : undefined;
}
