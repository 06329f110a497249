/** Kills processes at random moments, as power cuts and operators do. The moments follow from a seed, so that a run can be repeated. */

import { hashFields, u32 } from "../protocol/hash.ts";
import { stream } from "../protocol/random.ts";
import type { Progress } from "../ui/progress.ts";
import type { ManagedProcess } from "./processes.ts";

/** Kills of each process over the whole time. */
const killsEach = 2;

/** Begins the killing; every process is killed at two moments of the time given. Returns the function that ends it. */
export function chaos(
  processes: readonly ManagedProcess[],
  { seed, milliseconds, progress }: { seed: number; milliseconds: number; progress: Progress },
): () => void {
  const random = stream(hashFields("connito/demo-chaos/1", u32(seed)));
  const timers = processes.flatMap((managed) =>
    Array.from({ length: killsEach }, () =>
      setTimeout(() => {
        progress.note(`  SIGKILL to ${managed.name}`);
        managed.restart();
      }, random.uniform(milliseconds)),
    ),
  );
  return () => timers.forEach(clearTimeout);
}
