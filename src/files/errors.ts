/** What the operating system refuses becomes a typed error that names the path. */
import { ConnitoError, type ExitCodeName } from "../errors.ts";

interface Reason {
  readonly code: string;
  readonly exit: ExitCodeName;
  readonly what: string;
  readonly hint: string;
  readonly retryable?: boolean;
}

const missing: Reason = {
  code: "file-missing",
  exit: "invalidInput",
  what: "does not exist",
  hint: "Check the path, and that the download is complete.",
};
const denied: Reason = {
  code: "permission-denied",
  exit: "storage",
  what: "may not be opened or written",
  hint: "Give the user who runs this command the right to that path, or choose another.",
};
const full: Reason = {
  code: "disk-full",
  exit: "storage",
  what: "does not fit on the disk",
  hint: "Free space on that volume and run the same command again: what was finished before is kept.",
  retryable: true,
};
const reasons: Readonly<Record<string, Reason>> = {
  ENOENT: missing,
  ENOTDIR: { ...missing, hint: "Check the path: a part of it is no directory." },
  ELOOP: { ...missing, what: "is a link that leads back to itself" },
  EISDIR: { code: "file-irregular", exit: "invalidInput", what: "is a directory", hint: "Name a file." },
  EACCES: denied,
  EPERM: denied,
  EROFS: { ...denied, what: "lies on a read-only file system" },
  ENOSPC: full,
  EDQUOT: { ...full, what: "exceeds the quota" },
  EIO: { code: "disk-error", exit: "storage", what: "could not be read or written", hint: "Check the disk (EIO).", retryable: true },
};

/** The typed error for what the operating system answered about `path`. Anything that is no such answer comes back unchanged. */
export function fileError(cause: unknown, path: string): unknown {
  const { code, syscall } = (cause ?? {}) as NodeJS.ErrnoException;
  if (cause instanceof ConnitoError || typeof code !== "string") return cause;
  const reason = reasons[code];
  if (reason !== undefined) {
    const { what, retryable = false, ...rest } = reason;
    return new ConnitoError(`${path} ${what}`, { ...rest, retryable, cause });
  }
  if (syscall === undefined) return cause;
  return new ConnitoError(`The disk refused ${path} (${code})`, {
    code: "storage-failed",
    exit: "storage",
    hint: "Check the path and the health of its disk, then run the same command again.",
    cause,
  });
}

/** Runs `work`, turning what the operating system answers about `path` into a typed error. */
export async function onStorage<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw fileError(error, path);
  }
}

/** True when the operating system said that there is no such file. */
export function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === "ENOENT" || code === "ENOTDIR";
}

/** For a file that ends at byte `end`, before byte `wanted`. */
export function truncated(path: string, end: number, wanted: number): ConnitoError {
  return new ConnitoError(`${path} ends at byte ${end}, before byte ${wanted}`, {
    code: "file-truncated",
    exit: "invalidInput",
    hint: "The file was cut short or changed while it was read: fetch it again.",
  });
}
