/**
 * What the sender of a request between participants signs (docs/protocol.md, section 10). Method, path and range keep the signature
 * from serving another request, the receiver from serving another server, block and nonce from serving twice.
 */
import { ConnitoError } from "../errors.ts";
import { fields, sha256, u32, utf8 } from "./hash.ts";
import { type Hotkey, publicKeyOf } from "./hotkey.ts";

export interface RequestToSign {
  readonly method: string;
  readonly path: string;
  /** The Range header as sent; none is the same as empty. */
  readonly range?: string | undefined;
  /** Hotkey of the server that is asked. */
  readonly receiver: Hotkey;
  /** Number of a recent finalised block. */
  readonly block: number;
  /** 16 random bytes. */
  readonly nonce: Uint8Array;
}

export const nonceBytes = 16;
/** A request whose block is further than this from the server's finalised head is refused. */
export const maximumBlockDistance = 20;

/** The 32 bytes to sign. Throws `nonce-invalid` for a nonce of another length. */
export function requestMessage(request: RequestToSign): Uint8Array {
  if (request.nonce.length !== nonceBytes) {
    throw new ConnitoError(`A request's nonce has ${nonceBytes} bytes, not ${request.nonce.length}`, {
      code: "nonce-invalid",
      exit: "invalidInput",
      hint: `Draw ${nonceBytes} random bytes for every request.`,
    });
  }
  return sha256(
    fields(
      "connito/request/1",
      utf8(request.method),
      utf8(request.path),
      utf8(request.range ?? ""),
      publicKeyOf(request.receiver),
      u32(request.block),
      request.nonce,
    ),
  );
}
