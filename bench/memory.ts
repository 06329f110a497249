/** What the system says of this process's memory. */
import { readFile } from "node:fs/promises";

/** Bytes that this process has mapped to write to, which `prlimit --data` limits; 0 where the system does not tell. */
export async function dataBytes(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8").catch(() => "");
  return 1024 * Number(/VmData:\s+(\d+)/.exec(status)?.[1] ?? 0);
}
