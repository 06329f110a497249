/** Whether files are still those that were read: what takes hours, or goes on after a stop, must not mix two versions of them. */
import { stat } from "node:fs/promises";
import { ConnitoError } from "../errors.ts";
import { onStorage } from "../files/errors.ts";

/** A file that was written this recently may change again without its times telling. */
const settledMilliseconds = 2000;

export interface Identity {
  /** Device, inode, size, times of change. */
  readonly key: string;
  readonly settled: boolean;
}

/** What tells whether a file is still the one that was read. Nobody can set the time of the last change of its inode. Throws `file-missing` and the others of `fileError`. */
export async function identitiesOf(files: Iterable<string>): Promise<Map<string, Identity>> {
  const identities = new Map<string, Identity>();
  for (const file of new Set(files)) {
    const { dev, ino, size, mtimeNs, ctimeNs, mtimeMs } = await onStorage(file, () => stat(file, { bigint: true }));
    const settled = Date.now() - Number(mtimeMs) >= settledMilliseconds;
    identities.set(file, { key: `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`, settled });
  }
  return identities;
}

/** `file-changed` for the first file that is no longer the one that it was; undefined where all are. Throws what `identitiesOf` throws. */
export async function findChange(identities: ReadonlyMap<string, Identity>): Promise<ConnitoError | undefined> {
  for (const [file, { key }] of await identitiesOf(identities.keys())) if (identities.get(file)?.key !== key) return fileChanged(file);
  return undefined;
}

function fileChanged(file: string): ConnitoError {
  return new ConnitoError(`${file} changed while it was read`, {
    code: "file-changed",
    exit: "invalidInput",
    hint: "Wait until whatever writes it is done, then run the same command again.",
    retryable: true,
  });
}
