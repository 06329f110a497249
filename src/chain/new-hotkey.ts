/**
 * Makes a hotkey and writes it as btcli would: `hotkeys/<name>` (owner-readable only, optionally encrypted) and `hotkeys/<name>pub.txt`.
 * A file appears complete or not at all, and an existing hotkey is never overwritten.
 */
import { randomBytes } from "node:crypto";
import { link, mkdir, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { ConnitoError } from "../errors.ts";
import { hotkeyOf } from "../protocol/hotkey.ts";
import { deriveKey, scaleSecret, sealBox } from "./key-file.ts";
import { developmentKey, keyOfPhrase, loadCryptography, type SecretKey, type Signer, signerFromKey } from "./signer.ts";
import { hotkeyPath, type WalletLocation } from "./wallet.ts";

export interface NewHotkeyOptions extends WalletLocation {
  /** Encrypts the file; without one it is plain text that its owner alone may read. */
  readonly password?: string;
  /** A phrase to restore, or the uri of a development account (`//Alice`). Without it a new phrase of 12 words is made. */
  readonly from?: { readonly phrase: string } | { readonly uri: string };
}

interface Material {
  readonly pair: SecretKey;
  readonly phrase?: string;
  readonly seed?: Uint8Array;
}

async function makeMaterial(from: NewHotkeyOptions["from"]): Promise<Material> {
  if (from !== undefined && "uri" in from) return { pair: await developmentKey(from.uri) };
  const phrase = from?.phrase ?? (await loadCryptography()).bip39Generate(12);
  const pair = await keyOfPhrase(phrase);
  if (pair === undefined) {
    throw new ConnitoError("the phrase is not a valid mnemonic", {
      code: "wallet-phrase-invalid",
      exit: "key",
      hint: "Give its 12 to 24 words in lower case, separated by single spaces.",
    });
  }
  return { pair, phrase, seed: pair.seed };
}

const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString("hex")}`;

function publicFields({ publicKey }: SecretKey): Record<string, unknown> {
  return { accountId: hex(publicKey), publicKey: hex(publicKey), ss58Address: hotkeyOf(publicKey), cryptoType: 1 };
}

function secretFields({ pair, phrase, seed }: Material): Record<string, unknown> {
  return {
    ...publicFields(pair),
    privateKey: hex(scaleSecret(pair.secretKey, "dividedBy8")),
    ...(phrase === undefined ? {} : { secretPhrase: phrase }),
    ...(seed === undefined ? {} : { secretSeed: hex(seed) }),
  };
}

/** Writes a file that did not exist: a synced temporary, then a hard link, which fails where the name is taken. */
async function writeNew(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const handle = await open(temporary, "wx", 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
    await link(temporary, path);
  } finally {
    await handle.close();
    await rm(temporary, { force: true });
  }
}

/**
 * Writes a new hotkey and returns its signer. Throws `wallet-exists` where there is one of that name, `wallet-phrase-invalid`,
 * `wallet-name-invalid`, `wallet-unwritable`.
 */
export async function newHotkey(options: NewHotkeyOptions): Promise<Signer> {
  const path = hotkeyPath(options);
  const material = await makeMaterial(options.from);
  const secret = Buffer.from(JSON.stringify(secretFields(material)));
  const file = options.password === undefined ? secret : await sealBox(secret, await deriveKey(options.password));
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeNew(path, file);
    await rm(`${path}pub.txt`, { force: true });
    await writeNew(`${path}pub.txt`, Buffer.from(JSON.stringify(publicFields(material.pair))));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") {
      throw new ConnitoError(`there is a hotkey at ${path} already`, {
        code: "wallet-exists",
        exit: "key",
        hint: "Choose another name with --hotkey; an existing hotkey is never overwritten.",
      });
    }
    throw new ConnitoError(`${path} cannot be written (${(cause as NodeJS.ErrnoException).code ?? "unknown reason"})`, {
      code: "wallet-unwritable",
      exit: "key",
      hint: "Check the permissions and the free space of the wallet directory, or choose another with --wallet-path.",
      cause,
    });
  }
  return signerFromKey(material.pair);
}
