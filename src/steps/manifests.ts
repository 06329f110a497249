/** Manifests in the workspace: stored under the root that they must have, fetched from peers, verified on the way in. */

import { ConnitoError } from "../errors.ts";
import { collectBytes, type Source } from "../exchange/exchange.ts";
import type { Manifest } from "../model/manifest.ts";
import { manifestRoot, manifestText, maximumManifestBytes, parseManifest } from "../model/manifest.ts";
import type { Hash } from "../protocol/hash.ts";
import { readBounded, writeAtomic } from "../workspace/files.ts";
import type { Workspace } from "../workspace/workspace.ts";
import type { Context } from "./context.ts";
import { isLie, reportLie } from "./fetch.ts";

/** Keeps a manifest under its root, and returns the root. */
export async function storeManifest(workspace: Workspace, manifest: Manifest): Promise<Hash> {
  const root = manifestRoot(manifest);
  await writeAtomic(workspace.layout.manifest(root), manifestText(manifest));
  return root;
}

/** The manifest with this root if the workspace has it. */
export async function findManifest(workspace: Workspace, root: Hash): Promise<Manifest | undefined> {
  const bytes = await readBounded(workspace.layout.manifest(root), maximumManifestBytes);
  return bytes && parseManifest(bytes, { expectedRoot: root });
}

/**
 * The manifest with this root, from the workspace or from the first peer that delivers it unaltered.
 * @throws manifest-unavailable, which names what went wrong with each peer; manifest-root-mismatch (or what else was wrong with it) when
 * every peer delivered something else.
 */
export async function provideManifest(context: Context, sources: readonly Source[], root: Hash): Promise<Manifest> {
  const known = await findManifest(context.workspace, root);
  if (known !== undefined) return known;
  const failures: { locator: string; error: unknown }[] = [];
  for (const source of sources) {
    let manifest: Manifest;
    try {
      const stream = await source.get(`/manifests/${root}.json`, { maximumBytes: maximumManifestBytes, signal: context.signal });
      manifest = parseManifest(await collectBytes(stream, maximumManifestBytes), { expectedRoot: root });
    } catch (error) {
      if (context.signal.aborted) throw error;
      reportLie(context, source.locator, error);
      failures.push({ locator: source.locator, error });
      continue;
    }
    await storeManifest(context.workspace, manifest);
    return manifest;
  }
  const reasons = failures.map(({ locator, error }) => `\n  ${locator}: ${error instanceof Error ? error.message : String(error)}`);
  const message = `No peer delivered the manifest ${root}.${reasons.join("")}`;
  const [lie] = failures.map(({ error }) => error).filter(isLie);
  if (lie !== undefined && failures.every(({ error }) => isLie(error))) {
    throw new ConnitoError(message, {
      code: lie.code,
      exit: "verification",
      hint: "Nothing of it was kept. Name another peer with --peer.",
    });
  }
  throw new ConnitoError(message, {
    code: "manifest-unavailable",
    exit: "network",
    retryable: true,
    hint: "Wait for a validator or the owner to come back, or name another peer with --peer.",
  });
}
