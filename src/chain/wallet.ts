/**
 * Hotkeys in btwallet directories, as btcli and the Bittensor SDK keep them:
 *
 *     <path>/<wallet>/hotkeys/<hotkey>          the key, plain or encrypted (key-file.ts)
 *     <path>/<wallet>/hotkeys/<hotkey>pub.txt   its public half
 *
 * Only hotkeys are read; the coldkey is never asked for. Passwords come from the caller's callback and are asked only for an encrypted file.
 */
import { constants } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { ConnitoError } from "../errors.ts";
import { isHotkey } from "../protocol/hotkey.ts";
import { boxOf, corrupt, deriveKey, isEncrypted, openBox, readKey } from "./key-file.ts";
import { type Signer, signerFromKey } from "./signer.ts";

/** Far above any key file; what is larger is not one. */
const largestKeyFile = 65_536;
const names = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;

/** Where the SDK keeps wallets unless told otherwise. */
export const defaultWalletPath = "~/.bittensor/wallets";

export interface WalletLocation {
  /** The directory of wallets; a leading `~` is the home directory. Default `~/.bittensor/wallets`. */
  readonly path?: string;
  /** The wallet's name, `default` in the SDK. */
  readonly wallet: string;
  /** The hotkey's name within the wallet. */
  readonly hotkey: string;
}

function walletsDirectory(path: string = defaultWalletPath): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}

function checkName(kind: "wallet" | "hotkey", name: string): void {
  if (names.test(name)) return;
  throw new ConnitoError(`${JSON.stringify(name.slice(0, 80))} cannot be the name of a ${kind}`, {
    code: "wallet-name-invalid",
    exit: "usage",
    hint: "Give the name of the directory or file alone: letters, digits, dot, dash and underscore. The directory goes into the wallet path.",
  });
}

function hotkeysDirectory({ path, wallet }: Pick<WalletLocation, "path" | "wallet">): string {
  checkName("wallet", wallet);
  return join(walletsDirectory(path), wallet, "hotkeys");
}

/** Where a hotkey's file is; throws `wallet-name-invalid` for names that are not plain. */
export function hotkeyPath(location: WalletLocation): string {
  checkName("hotkey", location.hotkey);
  return join(hotkeysDirectory(location), location.hotkey);
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** The names of a wallet's hotkeys, sorted; empty where there is no such wallet. */
export async function listHotkeys(location: Pick<WalletLocation, "path" | "wallet">): Promise<string[]> {
  try {
    const entries = await readdir(hotkeysDirectory(location), { withFileTypes: true });
    const files = entries.filter((entry) => !entry.isDirectory() && names.test(entry.name)).map((entry) => entry.name);
    return files.filter((name) => !name.endsWith("pub.txt")).sort();
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return [];
    throw unreadable(hotkeysDirectory(location), error);
  }
}

/** The names of the directories that hold wallets, sorted; empty where there are none. */
export async function listWallets(path?: string): Promise<string[]> {
  const directory = walletsDirectory(path);
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries
      .filter((entry) => !entry.isFile() && names.test(entry.name))
      .map((entry) => entry.name)
      .sort();
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return [];
    throw unreadable(directory, error);
  }
}

/** The address that the public half of a hotkey states, without opening the hotkey; undefined where there is no such file, or it says nothing. */
export async function statedAddress(location: WalletLocation): Promise<string | undefined> {
  try {
    const { ss58Address } = JSON.parse(Buffer.from(await readKeyFile(location, `${hotkeyPath(location)}pub.txt`)).toString("utf8"));
    return isHotkey(ss58Address) ? ss58Address : undefined;
  } catch {
    return undefined;
  }
}

function unreadable(path: string, cause: unknown): ConnitoError {
  return new ConnitoError(`${path} cannot be read (${codeOf(cause) ?? "unknown reason"})`, {
    code: "wallet-unreadable",
    exit: "key",
    hint: "Check the owner and the permissions of the wallet directory and its files.",
    cause,
  });
}

async function notFound(location: WalletLocation, file: string): Promise<ConnitoError> {
  const known = await listHotkeys(location);
  return new ConnitoError(`there is no hotkey ${location.hotkey} in the wallet ${location.wallet}: ${file} does not exist`, {
    code: "wallet-not-found",
    exit: "key",
    hint:
      known.length > 0
        ? `This wallet has: ${known.slice(0, 20).join(", ")}. Name one with --hotkey.`
        : "`connito wallet list` shows what there is. Check --wallet-path, --wallet-name and --hotkey, or make one with `btcli wallet new-hotkey`, for a local chain with `connito wallet new`.",
  });
}

/** Reads a key file, its size checked before memory is taken, and only where it is a plain file (a FIFO would block for ever). */
async function readKeyFile(location: WalletLocation, file: string): Promise<Uint8Array> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const status = await handle.stat();
      if (!status.isFile()) throw corrupt(file, "it is not a plain file");
      if (status.size > largestKeyFile) throw corrupt(file, `its ${status.size} bytes are more than a key file has`);
      const buffer = new Uint8Array(status.size);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof ConnitoError) throw error;
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") throw await notFound(location, file);
    throw unreadable(file, error);
  }
}

export interface OpenHotkeyOptions extends WalletLocation {
  /** Asked once, and only when the file is encrypted. */
  readonly password?: () => Promise<string>;
}

async function decrypt(file: Uint8Array, path: string, { password }: OpenHotkeyOptions, derive: typeof deriveKey): Promise<Uint8Array> {
  const box = boxOf(file, path);
  if (password === undefined) {
    throw new ConnitoError(`${path} is encrypted and no password was given`, {
      code: "wallet-password-needed",
      exit: "key",
      hint: "Give it with --password-file, or run on a terminal to be asked for it.",
    });
  }
  const plain = await openBox(box, await derive(await password()));
  if (plain !== undefined) return plain;
  throw new ConnitoError(`the password does not open ${path}`, {
    code: "wallet-password-wrong",
    exit: "key",
    hint: "Check the password (a file with it may end in one newline). If it is surely right, the key file is damaged: restore it from a backup.",
  });
}

/**
 * Opens a hotkey for signing. The address that the file states is checked against the secret. `derive` stretches a password into a key;
 * tests put a quick one in its place.
 *
 * Throws `wallet-not-found`, `wallet-password-needed`, `wallet-password-wrong`, `wallet-corrupt`, `wallet-format-unsupported`,
 * `wallet-name-invalid`, `wallet-unreadable`, `wallet-memory`; none of them carries secret text.
 */
export async function openHotkey(options: OpenHotkeyOptions, derive = deriveKey): Promise<Signer> {
  const path = hotkeyPath(options);
  const file = await readKeyFile(options, path);
  return signerFromKey(await readKey(isEncrypted(file) ? await decrypt(file, path, options, derive) : file, path));
}
