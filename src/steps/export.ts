/** A version that the workspace holds, written out as a checkpoint directory that other programs load. */
import { ConnitoError } from "../errors.ts";
import { exportVersion } from "../model/export.ts";
import { readArchitecture } from "../model/families/index.ts";
import { totalBytes } from "../model/manifest.ts";
import type { WrittenCheckpoint } from "../model/write-shards.ts";
import type { Hash } from "../protocol/hash.ts";
import type { Context } from "./context.ts";
import { findManifest } from "./manifests.ts";
import { checkOutput, withOutput } from "./output-lock.ts";

export interface ExportInput {
  readonly root: Hash;
  readonly directory: string;
  readonly maximumShardBytes: number;
}

export interface ExportResult extends WrittenCheckpoint {
  readonly root: Hash;
  readonly directory: string;
}

/**
 * Nothing is fetched: a version that is not wholly here is refused, naming what would bring it.
 * @throws usage for a directory that cannot be, version-not-here, output-busy, and what writing throws
 */
export async function exportStep(
  { workspace, progress, signal }: Pick<Context, "workspace" | "progress" | "signal">,
  { root, directory, maximumShardBytes }: ExportInput,
): Promise<ExportResult> {
  await checkOutput(directory, "directory");
  const { objects } = workspace;
  const manifest = await findManifest(workspace, root);
  if (manifest === undefined) throw notHere(root, "its manifest");
  const pieces = manifest.pieces.filter(({ role }) => role === "backbone" || role === "expert");
  const wanted = [manifest.config, manifest.tokenizer, ...pieces.map(({ hash }) => hash)];
  let missing = 0;
  for (const hash of wanted) if (!(await objects.has(hash))) missing++;
  if (missing > 0) throw notHere(root, `${missing} of ${wanted.length} pieces`);

  const config = await objects.read(manifest.config);
  const architecture = readArchitecture(JSON.parse(Buffer.from(config).toString("utf8")), new Set(pieces.map(({ name }) => name)));
  progress.start("writing the checkpoint", totalBytes(pieces), "bytes");
  try {
    const tokenizer = await objects.read(manifest.tokenizer);
    const exported = await withOutput(directory, "directory", () =>
      exportVersion({
        manifest,
        architecture,
        config,
        tokenizer,
        directory,
        maximumShardBytes,
        locate: (hash) => objects.locate(hash),
        onProgress: (done) => progress.update(done),
        signal,
      }),
    );
    progress.succeed();
    return { root, directory, ...exported };
  } catch (error) {
    progress.fail();
    throw error;
  }
}

function notHere(root: Hash, what: string): ConnitoError {
  return new ConnitoError(`the version ${root} is not wholly in this state directory: it lacks ${what}`, {
    code: "version-not-here",
    exit: "verification",
    hint: "A validator holds all versions of late; `connito slice --whole` brings the current one here.",
  });
}
