/** Numbers and names as people read them. Every function is pure; machines read the JSON instead. */

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** "1.50 MiB": binary units, three significant digits from KiB on. */
export function formatBytes(bytes: number | bigint): string {
  let value = Number(bytes);
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < byteUnits.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : threeDigits(value)} ${byteUnits[unit]}`;
}

/** "1.23", "12.3", "123" (and "1023", which has no shorter form). */
function threeDigits(value: number): string {
  const magnitude = Math.abs(value);
  if (magnitude >= 99.95) return value.toFixed(0);
  return value.toFixed(magnitude >= 9.995 ? 1 : 2);
}

/** "850 ms", "12.3 s", "4 min 05 s", "2 h 03 min". */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 59_950) return `${(milliseconds / 1000).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

const two = (value: number) => String(value).padStart(2, "0");

/** A score in micro-nats per token as nats: 12345 is "+0.012345". */
export function formatMicroNats(score: number): string {
  return `${score < 0 ? "-" : "+"}${(Math.abs(score) / 1e6).toFixed(6)}`;
}

/** A loss in nats per token: "3.2186". */
export function formatNats(loss: number): string {
  return Number.isFinite(loss) ? loss.toFixed(4) : String(loss);
}

/** The first ten digits of a hash, enough to tell a few apart by eye. */
export function shortHash(hash: string): string {
  return hash.length > 12 ? `${hash.slice(0, 10)}…` : hash;
}

/** An SS58 address by both its ends: "5Grwva…GKutQY". */
export function shortAddress(address: string): string {
  return address.length > 15 ? `${address.slice(0, 6)}…${address.slice(-6)}` : address;
}

/** Rao (10^-9 TAO) as TAO: "1,234.5 TAO", without trailing zeros and without losing a digit. */
export function formatTao(rao: bigint): string {
  const magnitude = rao < 0n ? -rao : rao;
  const whole = (magnitude / 1_000_000_000n).toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  const fraction = (magnitude % 1_000_000_000n).toString().padStart(9, "0").replace(/0+$/, "");
  return `${rao < 0n ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`} TAO`;
}

/** "1,234,567". */
export function formatCount(count: number | bigint): string {
  return count.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** Rising whole numbers as people write them: "0 to 2, 5", or "1, 3 ... 47" where they are evenly apart. */
export function formatRuns(values: readonly number[]): string {
  const [first, second] = values;
  const last = values.at(-1);
  if (first === undefined || second === undefined || last === undefined) return values.join();
  const step = second - first;
  if (step > 1 && values.length > 3 && values.every((value, index) => value === first + index * step))
    return `${first}, ${second} ... ${last}`;
  const runs: string[] = [];
  for (let at = 0; at < values.length; at++) {
    const start = values[at] as number;
    const from = at;
    while (values[at + 1] === start + (at + 1 - from)) at++;
    runs.push(at === from ? `${start}` : `${start} to ${values[at]}`);
  }
  return runs.join(", ");
}
