/** What can be wrong with a source, each with what its owner can do. */
import { ConnitoError } from "../../errors.ts";
import { describeLocation } from "./source.ts";

export function sourceMissing(location: string, reason: string, cause?: unknown): ConnitoError {
  return new ConnitoError(`There is no source ${describeLocation(location)}: ${reason}`, {
    code: "data-missing",
    exit: "invalidInput",
    hint: "Check the path or address that --domain names.",
    cause,
  });
}

export function sourceGated(location: string, reason: string): ConnitoError {
  return new ConnitoError(`${describeLocation(location)} refuses to be read: ${reason}`, {
    code: "data-gated",
    exit: "invalidInput",
    hint: "Ask its publisher for access. For a gated dataset of the Hugging Face hub accept its terms, and put a token into the environment as HF_TOKEN.",
  });
}

export function sourceChanged(location: string, reason: string): ConnitoError {
  return new ConnitoError(`${describeLocation(location)} has changed: ${reason}`, {
    code: "data-changed",
    exit: "verification",
    hint: "Get the content that was meant, or give its new sha256. What was prepared from the old content is not mixed with the new.",
  });
}

export function sourceUnreachable(location: string, reason: string, cause?: unknown): ConnitoError {
  return new ConnitoError(`${describeLocation(location)} cannot be reached: ${reason}`, {
    code: "data-unreachable",
    exit: "network",
    hint: "Run the same command again: the download goes on where it stopped.",
    retryable: true,
    cause,
  });
}

export function sourceUnreadable(location: string, reason: string, cause?: unknown): ConnitoError {
  return new ConnitoError(`${location} cannot be read: ${reason}`, {
    code: "data-unreadable",
    exit: "storage",
    hint: "Check that it is a file that this user may read, and the disk.",
    cause,
  });
}

/** `place` is a line or row such as "line 12". */
export function sourceMalformed(location: string, place: string, reason: string, cause?: unknown): ConnitoError {
  return new ConnitoError(`${location}, ${place}: ${reason}`, {
    code: "data-malformed",
    exit: "invalidInput",
    hint: "Mend the source, or name its format and field as in posts.jsonl#format=jsonl&field=body.",
    cause,
  });
}
