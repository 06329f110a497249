/** Manifests in the workspace: stored under the root that they must have, fetched from peers, verified on the way in. */

import { ConnitoError } from "../errors.ts";
import type { Source } from "../exchange/exchange.ts";
import { fetchVerified, type Hasher, isPeerFault } from "../exchange/fetch-object.ts";
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
  const failures = new Map<string, ConnitoError>();
  const read: ManifestRead = {};
  try {
    await fetchVerified(
      {
        sources,
        path: `/manifests/${root}.json`,
        into: context.workspace.layout.manifest(root),
        maximumBytes: maximumManifestBytes,
        signal: context.signal,
        onFault: ({ locator, error }) => {
          const fault = error.code === "object-hash-mismatch" ? (read.problem ?? error) : error;
          reportLie(context, locator, fault);
          failures.set(locator, fault);
        },
      },
      root,
      () => manifestHasher(root, read),
    );
  } catch (error) {
    if (context.signal.aborted || !isPeerFault(error)) throw error;
    throw unavailable(root, failures);
  }
  // Another caller's download may have brought it.
  if (read.manifest === undefined) return (await findManifest(context.workspace, root)) as Manifest;
  // In canonical form, whatever the peer's was: this is what others get from here.
  await storeManifest(context.workspace, read.manifest);
  return read.manifest;
}

interface ManifestRead {
  manifest?: Manifest;
  /** What was wrong with what was delivered last. */
  problem?: ConnitoError;
}

/** A manifest's digest is its root, which is not told from its bytes before all of them are here. */
function manifestHasher(root: Hash, read: ManifestRead): Hasher {
  const parts: Uint8Array[] = [];
  return {
    update: (bytes) => void parts.push(new Uint8Array(bytes)),
    digest: () => {
      try {
        read.manifest = parseManifest(Buffer.concat(parts), { expectedRoot: root });
        return root;
      } catch (error) {
        if (!isLie(error)) throw error;
        read.problem = error;
        return "";
      }
    },
  };
}

function unavailable(root: Hash, failures: ReadonlyMap<string, ConnitoError>): ConnitoError {
  const reasons = [...failures].map(([locator, { message }]) => `\n  ${locator}: ${message}`);
  const message = `No peer delivered the manifest ${root}.${reasons.join("")}`;
  const lie = [...failures.values()].find(isLie);
  if (lie !== undefined && [...failures.values()].every(isLie)) {
    return new ConnitoError(message, {
      code: lie.code,
      exit: "verification",
      hint: "Nothing of it was kept. Name another peer with --peer.",
    });
  }
  return new ConnitoError(message, {
    code: "manifest-unavailable",
    exit: "network",
    retryable: true,
    hint: "Wait for a validator or the owner to come back, or name another peer with --peer.",
  });
}
