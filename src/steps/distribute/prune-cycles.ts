/**
 * Making room, cycle by cycle. Submissions, one's own and fetched ones, and the groups' gradients are needed until the cycle's version is agreed upon, and for
 * some cycles more by who comes late or measures a score again (`score explain`). Then they are removed. What was said of them stays: verdicts, reports,
 * evidence, results.
 */

import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isMissing, onStorage } from "../../files/errors.ts";
import { isHash } from "../../protocol/hash.ts";
import { namesIn } from "../../workspace/files.ts";
import type { Workspace } from "../../workspace/workspace.ts";
import type { Context } from "../context.ts";
import { gradientsNote, gradientsOf } from "../evaluate/gradients.ts";
import { findSubmission } from "../train/submissions.ts";

/** Cycles before the one at hand of which everything is kept. */
const keptCycles = 4;
/** Milliseconds. Nobody will go on with a download that nobody went on with for a day. */
const abandonedAfter = 24 * 60 * 60 * 1000;

/** Removes what is large and of cycles long past; returns how many bytes that were. */
export async function pruneCycles({ workspace, signal }: Pick<Context, "workspace" | "signal">, cycle: number): Promise<number> {
  const oldest = cycle - keptCycles;
  let bytes = 0;
  for (const remove of [pruneSubmissions, pruneGradients, pruneDownloads]) {
    signal.throwIfAborted();
    bytes += await remove(workspace, oldest);
  }
  return bytes;
}

async function pruneSubmissions(workspace: Workspace, oldest: number): Promise<number> {
  let bytes = 0;
  for (const name of await listed(workspace.layout.submissions)) {
    const root = name.slice(0, -".json".length);
    const known = isHash(root) ? await findSubmission(workspace, root) : undefined;
    if (known === undefined || known.cycle >= oldest) continue;
    // The note last, so that an interrupted pruning finds the rest again.
    for (const file of [known.file, `${known.file}.json`]) await onStorage(file, () => rm(file, { force: true }));
    bytes += known.bytes;
  }
  return bytes;
}

async function pruneGradients(workspace: Workspace, oldest: number): Promise<number> {
  const { layout, objects } = workspace;
  let bytes = 0;
  for (const name of await listed(layout.cycles)) {
    const cycle = Number(name);
    if (!(cycle < oldest)) continue;
    for (const hash of await gradientsOf(workspace, cycle)) {
      bytes += (await objects.locate(hash))?.bytes ?? 0;
      await objects.remove(hash);
    }
    const note = layout.cycle(cycle, gradientsNote);
    await onStorage(note, () => rm(note, { force: true }));
  }
  return bytes;
}

async function pruneDownloads({ layout }: Workspace): Promise<number> {
  let bytes = 0;
  const manifests = (await listed(layout.manifests)).filter((name) => name.endsWith(".partial"));
  const files = [
    ...(await listed(layout.partial)).map((name) => join(layout.partial, name)),
    ...manifests.map((name) => join(layout.manifests, name)),
  ];
  for (const file of files) {
    const found = await onStorage(file, () => stat(file).catch(unlessMissing));
    if (found === undefined || Date.now() - found.mtimeMs < abandonedAfter) continue;
    await onStorage(file, () => rm(file, { force: true }));
    bytes += found.size;
  }
  return bytes;
}

const listed = (directory: string) => onStorage(directory, () => namesIn(directory));

/** What ended between being listed and being looked at is here no more. */
function unlessMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}
