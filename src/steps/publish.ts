/**
 * Making things available to others. Over HTTP nothing has to be done: paths are answered from the workspace (publication.ts). A
 * participant that publishes through a shared directory puts the same things at the same paths there when a step has made them.
 */

import { ConnitoError } from "../errors.ts";
import { publishToDirectory } from "../exchange/directory.ts";
import type { Hash } from "../protocol/hash.ts";
import { checkLocator, type LocatorKind } from "../protocol/records.ts";
import type { Context } from "./context.ts";
import { inParallel } from "./fetch.ts";

/** A disk syncs several files in hardly more time than one. */
const parallelCopies = 16;

/** Where others find what this participant publishes, as a record of this kind can carry it. @throws locator-missing, record-too-long */
export function requireLocator(context: Pick<Context, "locator">, kind: LocatorKind): string {
  if (context.locator !== undefined) {
    checkLocator(context.locator, kind);
    return context.locator;
  }
  throw new ConnitoError("The record that goes on the chain has to say where others can fetch from.", {
    code: "locator-missing",
    exit: "usage",
    hint: "Give --publish file:/DIRECTORY for a directory that others can read, or http://HOST:PORT where `connito cycle run` serves.",
  });
}

/** Puts objects where a participant that publishes through a directory is looked for. Over HTTP nothing has to be done. */
export async function publishObjects(context: Pick<Context, "locator" | "workspace">, hashes: Iterable<Hash>): Promise<void> {
  const directory = publishedDirectory(context);
  if (directory === undefined) return;
  await inParallel([...new Set(hashes)], parallelCopies, async (hash) => {
    const location = await context.workspace.objects.locate(hash);
    if (location !== undefined) await publishToDirectory(directory, `/objects/${hash}`, location);
  });
}

/** Puts a file at a path of the exchange (a manifest, a submission, a report), if this participant publishes through a directory. */
export async function publishFile(context: Context, path: string, file: string): Promise<void> {
  const directory = publishedDirectory(context);
  if (directory !== undefined) await publishToDirectory(directory, path, { file });
}

function publishedDirectory(context: Pick<Context, "locator">): string | undefined {
  return context.locator?.startsWith("file:") ? context.locator.slice("file:".length) : undefined;
}
