/** Manifests in the workspace: stored under the root that they must have, fetched from peers, verified on the way in. */

import { collectBytes, type Source } from "../exchange/exchange.ts";
import type { Manifest } from "../model/manifest.ts";
import { encodeManifest, manifestRoot, maximumManifestBytes, parseManifest } from "../model/manifest.ts";
import type { Hash } from "../protocol/hash.ts";
import { ConnitoError } from "../errors.ts";
import { readBounded, writeAtomic } from "../workspace/files.ts";
import type { Workspace } from "../workspace/workspace.ts";
import type { Context } from "./context.ts";

/** Keeps a manifest under its root, and returns the root. */
export async function storeManifest(workspace: Workspace, manifest: Manifest): Promise<Hash> {
  const root = manifestRoot(manifest);
  await writeAtomic(workspace.layout.manifest(root), encodeManifest(manifest));
  return root;
}

/** The manifest with this root if the workspace has it. */
export async function findManifest(workspace: Workspace, root: Hash): Promise<Manifest | undefined> {
  const bytes = await readBounded(workspace.layout.manifest(root), maximumManifestBytes);
  return bytes && parseManifest(bytes, { expectedRoot: root });
}

/**
 * The manifest with this root, from the workspace or from the first peer that delivers it unaltered.
 * @throws manifest-unavailable, which names what went wrong with each peer.
 */
export async function provideManifest(context: Context, sources: readonly Source[], root: Hash): Promise<Manifest> {
  const known = await findManifest(context.workspace, root);
  if (known !== undefined) return known;
  const failures: string[] = [];
  for (const source of sources) {
    try {
      const stream = await source.get(`/manifests/${root}.json`, { maximumBytes: maximumManifestBytes, signal: context.signal });
      const manifest = parseManifest(await collectBytes(stream, maximumManifestBytes), { expectedRoot: root });
      await storeManifest(context.workspace, manifest);
      return manifest;
    } catch (error) {
      if (context.signal.aborted) throw error;
      failures.push(`${source.locator}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new ConnitoError(`No peer delivered the manifest ${root}.${failures.length > 0 ? `\n  ${failures.join("\n  ")}` : ""}`, {
    code: "manifest-unavailable",
    exit: "network",
    retryable: true,
    hint: "Wait for a validator or the owner to come back, or name another peer with --peer.",
  });
}
