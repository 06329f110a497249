/**
 * A hotkey is a participant's sr25519 key on the chain. Documents name it by its SS58 address; wherever it is hashed, its 32-byte
 * public key enters. Only the address of Subtensor's format 42 is taken, so that one key has one name: with other prefixes the same
 * key could appear twice in one list.
 */
import { createHash } from "node:crypto";
import { ConnitoError } from "../errors.ts";

/** An SS58 address of format 42. */
export type Hotkey = string;

const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const format = 42;
const publicKeyBytes = 32;
const checksumBytes = 2;
/** Base58 text of 35 bytes whose first is not zero. */
const addressLengths = { least: 46, most: 48 };

function invalid(hotkey: string, reason: string): ConnitoError {
  return new ConnitoError(`${JSON.stringify(String(hotkey).slice(0, 80))} is not a hotkey: ${reason}`, {
    code: "invalid-hotkey",
    exit: "invalidInput",
    hint: "Give the SS58 address of the hotkey as btcli prints it (48 letters and digits, beginning with 5).",
  });
}

/** SS58: the first bytes of BLAKE2b-512 over "SS58PRE" and the payload. */
function checksum(payload: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("blake2b512").update("SS58PRE").update(payload).digest()).subarray(0, checksumBytes);
}

function base58Decode(text: string): Uint8Array | undefined {
  let number = 0n;
  for (const character of text) {
    const digit = alphabet.indexOf(character);
    if (digit < 0) return undefined;
    number = number * 58n + BigInt(digit);
  }
  const digits = number.toString(16);
  return new Uint8Array(Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, "hex"));
}

function base58Encode(bytes: Uint8Array): string {
  let number = BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  let text = "";
  while (number > 0n) {
    text = alphabet.charAt(Number(number % 58n)) + text;
    number /= 58n;
  }
  return text;
}

/** The 32-byte public key of an address. Throws `invalid-hotkey` with what is wrong with it. */
export function publicKeyOf(hotkey: Hotkey): Uint8Array {
  if (typeof hotkey !== "string" || hotkey.length < addressLengths.least || hotkey.length > addressLengths.most) {
    throw invalid(hotkey, "its length is not that of an SS58 address");
  }
  const bytes = base58Decode(hotkey);
  if (bytes === undefined) throw invalid(hotkey, "it has characters outside base58");
  if (bytes.length !== 1 + publicKeyBytes + checksumBytes) throw invalid(hotkey, "its length is not that of an SS58 address");
  const payload = bytes.subarray(0, 1 + publicKeyBytes);
  if (Buffer.compare(checksum(payload), bytes.subarray(payload.length)) !== 0) throw invalid(hotkey, "its checksum is wrong");
  if (payload[0] !== format) throw invalid(hotkey, `its SS58 format is ${payload[0]}, not ${format}`);
  return payload.slice(1);
}

/** The address of a 32-byte public key. */
export function hotkeyOf(publicKey: Uint8Array): Hotkey {
  if (publicKey.length !== publicKeyBytes) throw invalid("", `a public key has ${publicKeyBytes} bytes, not ${publicKey.length}`);
  const payload = Uint8Array.of(format, ...publicKey);
  return base58Encode(Uint8Array.of(...payload, ...checksum(payload)));
}

export function isHotkey(value: unknown): value is Hotkey {
  if (typeof value !== "string") return false;
  try {
    publicKeyOf(value);
    return true;
  } catch {
    return false;
  }
}
