/**
 * The bytes of a btwallet key file, in both directions. Plain, it is a JSON object; older ones hold a bare phrase or seed. Encrypted, it
 * is `$NACL`, a 24-byte nonce and a secretbox whose key is argon2i of the password with the wallet's fixed salt and costs.
 *
 * No text of a key file may reach an error: a message says what is wrong with the file, never what is in it.
 */
import { randomBytes } from "node:crypto";
import { ConnitoError } from "../errors.ts";
import { hotkeyOf, isHotkey, publicKeyOf } from "../protocol/hotkey.ts";
import { keyOfPhrase, keyOfSeed, loadCryptography, type SecretKey } from "./signer.ts";

const magic = Buffer.from("$NACL");
const nonceBytes = 24;
const boxOverheadBytes = 16;
/** libsodium's SENSITIVE costs for argon2i13, and the salt, as bittensor-wallet fixes them. */
const argon2 = {
  salt: Buffer.from("137183dff15a09bc9c90b5518739e9b1", "hex"),
  iterations: 8,
  memorySize: 536_870_912 / 1024,
  parallelism: 1,
  hashLength: 32,
} as const;

const oldFormats: readonly { readonly prefix: string; readonly name: string }[] = [
  { prefix: "$ANSIBLE_VAULT", name: "Ansible Vault" },
  { prefix: "gAAAAA", name: "Fernet" },
];

export function corrupt(path: string, reason: string): ConnitoError {
  return new ConnitoError(`${path} is not a usable key file: ${reason}`, {
    code: "wallet-corrupt",
    exit: "key",
    hint: "Restore the file from a backup, or regenerate the hotkey from its phrase with `btcli wallet regen-hotkey`.",
  });
}

function unsupported(path: string, what: string, hint: string): ConnitoError {
  return new ConnitoError(`${path} ${what}`, { code: "wallet-format-unsupported", exit: "key", hint });
}

export function isEncrypted(file: Uint8Array): boolean {
  return Buffer.from(file.subarray(0, magic.length)).equals(magic);
}

export interface SealedBox {
  readonly nonce: Uint8Array;
  readonly box: Uint8Array;
}

/**
 * The 32-byte key of a password: argon2i with 512 MiB, some seconds by design. Throws `wallet-memory` where that much cannot be had.
 */
export async function deriveKey(password: string): Promise<Uint8Array> {
  const { argon2i } = await import("hash-wasm");
  try {
    return await argon2i({ password, ...argon2, outputType: "binary" });
  } catch (cause) {
    throw new ConnitoError("the password could not be stretched: key files ask for 512 MiB of memory", {
      code: "wallet-memory",
      exit: "key",
      hint: "Free some memory and try again, or use an unencrypted hotkey file readable by its owner only.",
      retryable: true,
      cause,
    });
  }
}

/** The nonce and the secretbox of an encrypted key file. Throws `wallet-corrupt` where it is too short to have them. */
export function boxOf(file: Uint8Array, path: string): SealedBox {
  const nonceEnd = magic.length + nonceBytes;
  if (file.length < nonceEnd + boxOverheadBytes) throw corrupt(path, "it ends within its encrypted part");
  return { nonce: file.slice(magic.length, nonceEnd), box: file.slice(nonceEnd) };
}

/** The plain text of a box under an already derived key; undefined when the key is not the one. */
export async function openBox({ nonce, box }: SealedBox, key: Uint8Array): Promise<Uint8Array | undefined> {
  const { xsalsa20poly1305 } = await loadCryptography();
  try {
    return xsalsa20poly1305(key, nonce).decrypt(box);
  } catch {
    return undefined;
  }
}

/** An encrypted key file around this plain text. */
export async function sealBox(text: Uint8Array, key: Uint8Array): Promise<Uint8Array> {
  const { xsalsa20poly1305 } = await loadCryptography();
  const nonce = randomBytes(nonceBytes);
  return Buffer.concat([magic, nonce, xsalsa20poly1305(key, nonce).encrypt(text)]);
}

interface KeyFields {
  readonly secretPhrase?: string;
  readonly secretSeed?: string;
  readonly privateKey?: string;
  readonly address?: string;
  readonly publicKey?: string;
}

function textField(object: Record<string, unknown>, ...names: string[]): string | undefined {
  for (const name of names) {
    const value = object[name];
    if (typeof value === "string" && value.trim() !== "") return value.trim();
  }
  return undefined;
}

/** Reads the object of a key file, and the older files that hold only a phrase or a seed. */
function readFields(text: string, path: string): KeyFields {
  if (!text.startsWith("{")) {
    if (/^(0x)?[0-9a-fA-F]{64}$/.test(text)) return { secretSeed: text };
    if (/^[a-z]+( [a-z]+){11,23}$/.test(text)) return { secretPhrase: text };
    throw corrupt(path, "it is neither a JSON object, nor a phrase, nor a seed");
  }
  let object: Record<string, unknown>;
  try {
    object = JSON.parse(text);
  } catch {
    throw corrupt(path, "it begins like JSON but is not"); // the parser's own message quotes the text
  }
  if (typeof object.encoded === "string" && object.encoding !== undefined) {
    throw unsupported(path, "is a polkadot.js export, not a btwallet key file", "Import it with `btcli wallet regen-hotkey --json`.");
  }
  if (object.cryptoType !== undefined && object.cryptoType !== 1) {
    throw unsupported(path, "holds a key that is not sr25519", "Make an sr25519 hotkey with `btcli wallet new-hotkey`.");
  }
  const fields = {
    secretPhrase: textField(object, "secretPhrase"),
    secretSeed: textField(object, "secretSeed"),
    privateKey: textField(object, "privateKey"),
    address: textField(object, "ss58Address", " ss58Address"),
    publicKey: textField(object, "publicKey", "accountId"),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function hexBytes(text: string | undefined, length: number): Uint8Array | undefined {
  const match = /^(?:0x)?([0-9a-fA-F]+)$/.exec(text ?? "");
  return match?.[1]?.length === length * 2 ? new Uint8Array(Buffer.from(match[1], "hex")) : undefined;
}

/** The 256-bit little-endian scalar in front of a secret key, times 8 or divided by it; what follows it is kept. */
export function scaleSecret(secret: Uint8Array, by: "times8" | "dividedBy8"): Uint8Array {
  let scalar = 0n;
  for (let index = 31; index >= 0; index -= 1) scalar = (scalar << 8n) | BigInt(secret[index] ?? 0);
  scalar = by === "times8" ? scalar << 3n : scalar >> 3n;
  const scaled = Uint8Array.from(secret);
  for (let index = 0; index < 32; index += 1) {
    scaled[index] = Number(scalar & 0xffn);
    scalar >>= 8n;
  }
  return scaled;
}

/** A 64-byte private key is written in schnorrkel's canonical form by the SDK and in polkadot.js's form by some others. */
async function pairOfPrivateKey(secret: Uint8Array, publicKey: Uint8Array): Promise<SecretKey | undefined> {
  const { sr25519Sign, sr25519Verify } = await loadCryptography();
  const probe = Uint8Array.of(1);
  for (const secretKey of [scaleSecret(secret, "times8"), secret]) {
    try {
      if (sr25519Verify(sr25519Sign(publicKey, secretKey, probe), probe, publicKey)) return { publicKey, secretKey };
    } catch {
      // not in this form
    }
  }
  return undefined;
}

/**
 * The key pair that a plain key file holds, checked against every address and public key that it states: the phrase if there is one, else
 * the seed, else the private key (SDK 4.1 wrote damaged seeds beside a good private key, so a seed that is no hex is passed over).
 * Throws `wallet-corrupt` or `wallet-format-unsupported`.
 */
export async function readKey(plain: Uint8Array, path: string): Promise<SecretKey> {
  const text = Buffer.from(plain).toString("utf8").trim();
  for (const { prefix, name } of oldFormats) {
    if (!text.startsWith(prefix)) continue;
    throw unsupported(
      path,
      `is encrypted in the old ${name} format`,
      "Let the Bittensor SDK rewrite it once: `btcli wallet update`, then try again.",
    );
  }
  const fields = readFields(text, path);
  const address = fields.address;
  if (address !== undefined && !isHotkey(address)) throw corrupt(path, `its ss58Address is not an address of format 42`);

  let pair: SecretKey | undefined;
  const seed = hexBytes(fields.secretSeed, 32);
  const secret = hexBytes(fields.privateKey, 64);
  const publicKey = hexBytes(fields.publicKey, 32) ?? (address === undefined ? undefined : publicKeyOf(address));
  if (fields.secretPhrase !== undefined) {
    pair = await keyOfPhrase(fields.secretPhrase);
    if (pair === undefined) throw corrupt(path, "its phrase is not a valid mnemonic");
  } else if (seed !== undefined) {
    pair = await keyOfSeed(seed);
  } else if (secret !== undefined && publicKey !== undefined) {
    pair = await pairOfPrivateKey(secret, publicKey);
    if (pair === undefined) throw corrupt(path, "its private key does not belong to the address it states");
  }
  if (pair === undefined) throw corrupt(path, "it holds no phrase, no seed, and no private key with its public key");

  const actual = hotkeyOf(pair.publicKey);
  if (address !== undefined && address !== actual)
    throw corrupt(path, `it states the address ${address}, but its secret is that of ${actual}`);
  if (publicKey !== undefined && !Buffer.from(publicKey).equals(pair.publicKey)) {
    throw corrupt(path, "the public key it states is not that of its secret");
  }
  return pair;
}
