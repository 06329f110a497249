/**
 * A signer is a hotkey that can sign: its address, its public key, and sr25519 signatures. The secret stays inside the closure: printing,
 * serialising or logging a signer shows the address and nothing else.
 *
 * The cryptography is loaded on first use, so that commands that sign nothing do not pay for it.
 */
import { ConnitoError } from "../errors.ts";
import { publicKeyOf } from "../protocol/hotkey.ts";

/** The SS58 format of every Subtensor network. */
export const ss58Format = 42;

const signatureBytes = 64;

export interface Signer {
  /** SS58 address, format 42. */
  readonly address: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The sr25519 signature (64 bytes) over the bytes as they are. Two signatures of the same bytes differ. */
  sign(message: Uint8Array): Uint8Array;
}

/** A key pair as the wallet file writes it down. */
export interface SecretKey {
  readonly publicKey: Uint8Array;
  /** 64 bytes in the form of polkadot.js: the scalar times 8, then the nonce seed. */
  readonly secretKey: Uint8Array;
}

type Cryptography = typeof import("@polkadot/keyring") & typeof import("@polkadot/util-crypto");

let cryptography: Promise<Cryptography> | undefined;

/** Loads the key ring with its cryptography ready. The only place that imports it. */
export function loadKeyring(): Promise<Cryptography> {
  cryptography ??= (async () => {
    const [keyring, crypto] = await Promise.all([import("@polkadot/keyring"), import("@polkadot/util-crypto")]);
    await crypto.cryptoWaitReady();
    return { ...keyring, ...crypto };
  })();
  return cryptography;
}

/**
 * The key of a development account, written as a derivation from the well-known development phrase: `//Alice`, `//Miner//3`.
 * Its secret is public: for local chains and tests only. Throws `development-account-invalid`.
 */
export async function developmentKey(uri: string): Promise<SecretKey> {
  if (!/^(\/\/[A-Za-z0-9]+)+$/.test(uri)) {
    throw new ConnitoError("this is not the name of a development account", {
      code: "development-account-invalid",
      exit: "usage",
      hint: "Write it as //Alice: two slashes and a name. A phrase or a seed belongs in a wallet file, never in a flag.",
    });
  }
  const { DEV_PHRASE, keyExtractSuri, keyFromPath, mnemonicToMiniSecret, sr25519PairFromSeed } = await loadKeyring();
  return keyFromPath(sr25519PairFromSeed(mnemonicToMiniSecret(DEV_PHRASE)), keyExtractSuri(`${DEV_PHRASE}${uri}`).path, "sr25519");
}

/** The signer of a key pair. */
export async function signerFromKey(key: SecretKey): Promise<Signer> {
  const { Keyring } = await loadKeyring();
  const pair = new Keyring({ type: "sr25519", ss58Format }).addFromPair(key);
  return { address: pair.address, publicKey: pair.publicKey, sign: (message) => pair.sign(message) };
}

/** The signer of a development account; see {@link developmentKey}. */
export async function developmentSigner(uri: string): Promise<Signer> {
  return signerFromKey(await developmentKey(uri));
}

/**
 * Whether `signature` is the sr25519 signature of exactly these bytes by the hotkey `address`. False for anything malformed: what
 * arrives from others is never a reason to throw.
 */
export async function verifySignature(message: Uint8Array, signature: Uint8Array, address: string): Promise<boolean> {
  if (signature.length !== signatureBytes) return false;
  const { sr25519Verify } = await loadKeyring();
  try {
    return sr25519Verify(message, signature, publicKeyOf(address));
  } catch {
    return false;
  }
}
