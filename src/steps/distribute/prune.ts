/**
 * Making room: a version of the model shares most pieces with the one before, and what only old versions have is not needed any more.
 * Kept are the task's base and stand-ins, the version of the slice at hand, and the newest versions beside it, whether they became
 * canonical or not yet. Of the others the pieces that no kept version names are removed, and then their manifests; nothing else is
 * touched: no data, no documents, no file that is only viewed. What cycles leave is prune-cycles.ts's.
 */

import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { onStorage } from "../../files/errors.ts";
import { type Hash, isHash } from "../../protocol/hash.ts";
import type { Context } from "../context.ts";
import { findManifest } from "../manifests.ts";
import type { Membership } from "../membership.ts";

/** Versions that are kept beside the current one: the one before, and what was merged last and may yet be agreed upon. */
const newestKept = 3;

/** Removes what only older versions need; returns how many bytes that were. */
export async function pruneVersions(
  { workspace, signal }: Pick<Context, "workspace" | "signal">,
  { task }: Membership,
  { root }: { root: Hash },
): Promise<number> {
  const { layout, objects } = workspace;
  const fixed = new Set([root, task.model.root, task.model.standIns]);
  const others = (await manifestsByAge(layout.manifests)).filter((one) => !fixed.has(one));
  const old = others.slice(newestKept);
  if (old.length === 0) return 0;

  const needed = new Set<Hash>();
  for (const one of [...fixed, ...others.slice(0, newestKept)]) {
    const manifest = await findManifest(workspace, one);
    if (manifest === undefined) continue;
    for (const hash of [manifest.config, manifest.tokenizer, ...manifest.pieces.map((piece) => piece.hash)]) needed.add(hash);
  }
  const kept = await objects.list();
  let bytes = 0;
  for (const one of old) {
    for (const piece of (await findManifest(workspace, one))?.pieces ?? []) {
      signal.throwIfAborted();
      if (needed.has(piece.hash) || !kept.delete(piece.hash)) continue;
      await objects.remove(piece.hash);
      bytes += piece.bytes;
    }
    // Last, so that an interrupted pruning finds the rest again.
    await onStorage(layout.manifest(one), () => rm(layout.manifest(one), { force: true }));
  }
  return bytes;
}

/** Roots of the manifests in the workspace, the newest first. */
async function manifestsByAge(directory: string): Promise<Hash[]> {
  return onStorage(directory, async () => {
    const found: { root: Hash; written: number }[] = [];
    for (const name of await readdir(directory)) {
      const root = name.slice(0, -".json".length);
      if (isHash(root)) found.push({ root, written: (await stat(join(directory, name))).mtimeMs });
    }
    return found.sort((a, b) => b.written - a.written).map((one) => one.root);
  });
}
