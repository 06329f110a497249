/**
 * How bytes travel between participants, behind one small interface: a source answers paths with streams of bytes, whether it is a
 * server or a shared directory. Nothing a source says is believed: lengths are limits, and what arrives is checked against a hash by
 * whoever asked (fetch-object.ts does it for everything large).
 */
import { ConnitoError } from "../errors.ts";
import { parseLocator } from "../protocol/locator.ts";
import { openDirectorySource } from "./directory.ts";
import { type HttpSourceOptions, openHttpSource } from "./http-source.ts";
import type { Resource } from "./resources.ts";
import type { Source } from "./source.ts";

export { collectBytes, type Delivery, type GetOptions, type Source } from "./source.ts";

/** What a publisher has at a path: a range of a file, bytes, nothing, or nothing for this requester now. */
export type Published = { readonly file: string; readonly offset: number; readonly bytes: number } | Uint8Array | undefined | "forbidden";

export interface Publication {
  /** `requester` is a registered hotkey whose signature was verified; `path` is in the table of resources.ts and names `resource`. */
  resolve(path: string, requester: string, resource: Resource): Promise<Published>;
}

/** Opens the peer at a locator (docs/protocol.md, section 7); connects on the first request. Errors: locator-invalid, signer-missing. */
export function openSource(locator: string, options: Partial<HttpSourceOptions> = {}): Source {
  const { kind, target } = parseLocator(locator);
  if (kind === "file") return openDirectorySource(locator, target);
  const { signer, blockNumber, ...rest } = options;
  if (signer === undefined || blockNumber === undefined) throw signerMissing(locator);
  return openHttpSource(locator, { signer, blockNumber, ...rest });
}

function signerMissing(locator: string): ConnitoError {
  return new ConnitoError(`Requests to ${locator} must be signed, and no hotkey is open`, {
    code: "signer-missing",
    exit: "key",
    hint: "Name the wallet and hotkey with --wallet-name and --hotkey.",
  });
}
