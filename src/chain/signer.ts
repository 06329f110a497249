/**
 * A signer is a hotkey that can sign: its address, its public key, and sr25519 signatures. The secret stays inside the closure: printing,
 * serialising or logging a signer shows the address and nothing else.
 *
 * The cryptography is loaded on first use, so that commands that sign nothing do not pay for it.
 */
import { ConnitoError } from "../errors.ts";
import { hotkeyOf, publicKeyOf } from "../protocol/hotkey.ts";

const signatureBytes = 64;
const secretKeyBytes = 64;

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

type Cryptography = typeof import("./packages/crypto.ts");

let cryptography: Promise<Cryptography> | undefined;

/** Loads the cryptography and waits until it is ready. */
export function loadCryptography(): Promise<Cryptography> {
  cryptography ??= (async () => {
    // polkadot.js warns on stderr where a bundle of it and its modules meet in one process, as they do in the embedded chain's
    process.env["POLKADOTJS_DISABLE_ESM_CJS_WARNING"] = "1";
    const crypto = await import("./packages/crypto.ts");
    await crypto.waitReady();
    return crypto;
  })();
  return cryptography;
}

/** Splits what schnorrkel makes of a seed: 64 bytes of secret key, then the public key. */
function keyOf(pair: Uint8Array): SecretKey {
  return { secretKey: pair.slice(0, secretKeyBytes), publicKey: pair.slice(secretKeyBytes) };
}

/** The key of a seed of 32 bytes. */
export async function keyOfSeed(seed: Uint8Array): Promise<SecretKey> {
  return keyOf((await loadCryptography()).sr25519KeypairFromSeed(seed));
}

/** The key of a phrase, undefined where its words or its checksum are wrong. */
export async function keyOfPhrase(phrase: string): Promise<(SecretKey & { readonly seed: Uint8Array }) | undefined> {
  const crypto = await loadCryptography();
  if (!crypto.bip39Validate(phrase)) return undefined;
  const seed = crypto.bip39ToMiniSecret(phrase, "");
  return { ...(await keyOfSeed(seed)), seed };
}

/** The phrase from which Substrate derives the accounts of development chains. */
const developmentPhrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const chainCodeBytes = 32;
/** Its key pair; phrases are slow to open by design. */
let developmentRoot: Uint8Array | undefined;

/** What a step of a derivation adds: a number as such, a name as SCALE encodes text, either in 32 bytes. */
function chainCode(step: string): Uint8Array {
  const code = Buffer.alloc(chainCodeBytes);
  if (/^\d+$/.test(step)) code.writeBigUInt64LE(BigInt.asUintN(64, BigInt(step)));
  else code.set([step.length << 2, ...Buffer.from(step)]);
  return code;
}

/**
 * The key of a development account, written as a derivation from the well-known development phrase: `//Alice`, `//Miner//3`.
 * Its secret is public: for local chains and tests only. Throws `development-account-invalid`.
 */
export async function developmentKey(uri: string): Promise<SecretKey> {
  if (!/^(\/\/[A-Za-z0-9]{1,31})+$/.test(uri)) {
    throw new ConnitoError("this is not the name of a development account", {
      code: "development-account-invalid",
      exit: "usage",
      hint: "Write it as //Alice: two slashes and a name. A phrase or a seed belongs in a wallet file, never in a flag.",
    });
  }
  const { bip39ToMiniSecret, sr25519DeriveKeypairHard, sr25519KeypairFromSeed } = await loadCryptography();
  developmentRoot ??= sr25519KeypairFromSeed(bip39ToMiniSecret(developmentPhrase, ""));
  return keyOf(
    uri
      .slice(2)
      .split("//")
      .reduce((pair, step) => sr25519DeriveKeypairHard(pair, chainCode(step)), developmentRoot),
  );
}

/** The signer of a key pair. */
export async function signerFromKey({ publicKey, secretKey }: SecretKey): Promise<Signer> {
  const { sr25519Sign } = await loadCryptography();
  return { address: hotkeyOf(publicKey), publicKey, sign: (message) => sr25519Sign(publicKey, secretKey, message) };
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
  const { sr25519Verify } = await loadCryptography();
  try {
    return sr25519Verify(signature, message, publicKeyOf(address));
  } catch {
    return false;
  }
}
