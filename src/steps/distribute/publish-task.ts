/** Keeping and showing all that a task names by hash, before the task itself is shown. */
import { resolve } from "node:path";
import { type Manifest, manifestRoot } from "../../model/manifest.ts";
import { canonicalJson, documentHash } from "../../protocol/canonical.ts";
import type { Hash } from "../../protocol/hash.ts";
import type { TokenData } from "../../protocol/token-data.ts";
import type { Context } from "../context.ts";
import { storeManifest } from "../manifests.ts";
import { publishFile, publishObjects } from "../publish.ts";
import type { PreparedDomain } from "./prepare-data.ts";

export interface TaskParts {
  readonly manifest: Manifest;
  readonly standIns: Manifest;
  /** Measurements that the task names by hash. */
  readonly documents: readonly object[];
  readonly domains: readonly PreparedDomain[];
  readonly heldOutDirectory?: string | undefined;
}

/** Keeps and shows all that the task names by hash; the held-out data only where their own directory is. */
export async function publishParts(
  context: Context,
  { manifest, standIns, documents, domains, heldOutDirectory }: TaskParts,
): Promise<void> {
  const { workspace } = context;
  await storeManifest(workspace, manifest);
  await storeManifest(workspace, standIns);
  const measurements: Hash[] = [];
  for (const document of documents) measurements.push(await workspace.objects.put(canonicalJson(document)));
  for (const { train, heldOut } of domains) for (const side of [train, heldOut]) await workspace.objects.put(canonicalJson(side));
  await publishObjects(context, [
    manifest.config,
    manifest.tokenizer,
    ...measurements,
    ...manifest.pieces.map((piece) => piece.hash),
    ...standIns.pieces.map((piece) => piece.hash),
    ...domains.flatMap(({ train }) => objectsOf(train)),
  ]);
  if (heldOutDirectory !== undefined) {
    const apart = { workspace, locator: `file:${resolve(heldOutDirectory)}` };
    await publishObjects(
      apart,
      domains.flatMap(({ heldOut }) => objectsOf(heldOut)),
    );
  }
  for (const version of [manifest, standIns].map(manifestRoot))
    await publishFile(context, `/manifests/${version}.json`, workspace.layout.manifest(version));
}

/** A data document's own hash, and those of its shards. */
function objectsOf(data: TokenData): Hash[] {
  return [documentHash(data), ...data.shards.map(({ hash }) => hash)];
}
