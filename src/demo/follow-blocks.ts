/** Shows where the chain is in the task's cycles, block by block, while the processes work. */

import { connectChain } from "../chain/client.ts";
import { cycleLength, phaseAt } from "../protocol/clock.ts";
import type { Task } from "../protocol/task.ts";
import type { Progress } from "../ui/progress.ts";

/** Follows until the signal fires; a chain that cannot be followed is no reason to end the demo. */
export async function followBlocks(network: string, task: Task, progress: Progress, signal: AbortSignal): Promise<void> {
  const chain = await connectChain({ endpoints: [network], signal });
  try {
    let shown: number | undefined;
    for await (const { best } of chain.followHeads(signal)) {
      const position = phaseAt(task, best);
      const cycle = position?.cycle ?? -1;
      if (cycle !== shown)
        progress.start(position === undefined ? "Waiting for the first cycle" : `Cycle ${cycle}`, position && cycleLength(task));
      shown = cycle;
      if (position !== undefined) progress.update(position.offset + 1, position.phase);
    }
  } finally {
    chain.disconnect();
  }
}
