/** X25519 (RFC 7748): a pair of keys for one session, and the secret that it shares with another's public key. */
import { createPublicKey, diffieHellman, generateKeyPairSync, type JsonWebKey } from "node:crypto";
import { fromHex, toHex } from "../protocol/hash.ts";

export interface AgreementKey {
  /** The public key, 64 hexadecimal digits. */
  readonly publicKey: string;
  /** The 32 bytes shared with the holder of `other`; undefined where `other` is no key that could give a secret. */
  agree(other: string): Uint8Array | undefined;
}

export function createAgreementKey(): AgreementKey {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  const { x = "" } = publicKey.export({ format: "jwk" });
  return {
    publicKey: toHex(Buffer.from(x, "base64url")),
    agree(other) {
      const jwk: JsonWebKey = { kty: "OKP", crv: "X25519", x: Buffer.from(fromHex(other)).toString("base64url") };
      try {
        return new Uint8Array(diffieHellman({ privateKey, publicKey: createPublicKey({ key: jwk, format: "jwk" }) }));
      } catch {
        // A point of small order, whose secret would be the same for everybody.
        return undefined;
      }
    },
  };
}
