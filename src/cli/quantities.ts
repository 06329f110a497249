/** Quantities as people write them on a command line: durations and sizes with a unit, amounts in TAO. */

import { ConnitoError } from "../errors.ts";

const milliseconds: Readonly<Record<string, number>> = { ms: 1, s: 1000, min: 60_000, h: 3_600_000 };

/** Milliseconds of "250ms", "12s", "1.5s", "5min", "1h". @throws usage */
export function parseDuration(text: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*(ms|s|min|h)$/.exec(text) ?? [];
  const factor = milliseconds[unit ?? ""];
  if (amount === undefined || factor === undefined)
    throw malformed(text, "a duration", "Write a number and its unit, such as 250ms, 12s or 5min.");
  return Math.round(Number(amount) * factor);
}

/** Rao (10^-9 TAO) of an amount in TAO such as "1000" or "0.5"; exact. @throws usage */
export function parseTao(text: string): bigint {
  const [, whole, fraction = ""] = /^(\d{1,12})(?:\.(\d{1,9}))?$/.exec(text) ?? [];
  if (whole === undefined) throw malformed(text, "an amount in TAO", "Write a number such as 1000 or 0.5, with at most nine decimals.");
  return BigInt(whole) * 1_000_000_000n + BigInt(fraction.padEnd(9, "0"));
}

/** A share such as "0.2", from 0 to 1, given with this flag. @throws usage */
export function parseShare(text: string, flag: string): number {
  if (!/^(?:0(?:\.\d+)?|1(?:\.0+)?)$/.test(text)) throw malformed(text, "a share", "Write a number from 0 to 1, such as 0.2.", flag);
  return Number(text);
}

const byteUnits: Readonly<Record<string, number>> = {
  ...{ B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 },
  ...{ KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 },
};

/** Bytes of "5GB", "500 MB", "4GiB". @throws usage */
export function parseBytes(text: string): number {
  const [, amount, unit] = /^(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT]i?B|B)$/.exec(text) ?? [];
  const factor = byteUnits[unit ?? ""];
  if (amount === undefined || factor === undefined) throw malformed(text, "a size", "Write a number and its unit, such as 5GB or 500MiB.");
  return Math.round(Number(amount) * factor);
}

function malformed(text: string, what: string, hint: string, flag?: string): ConnitoError {
  const given = `${flag === undefined ? "" : `${flag} `}${JSON.stringify(text.slice(0, 80))}`;
  return new ConnitoError(`${given} is not ${what}.`, { code: "usage", exit: "usage", hint });
}
