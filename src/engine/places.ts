/**
 * Training for a submission that can change only some places of each tensor (docs/protocol.md, section 6). Sending what a dense run did at those
 * places would lose nearly all of it; so all other values stay at the base while it trains, and what is sent is what was trained, up to its rounding. A
 * few values have to go further than many to gain as much: they are trained at a higher rate.
 */
import type { Trainer } from "./trainer.ts";

/** What the task's learning rate is multiplied by where one value in ten is trained; docs/performance.md has what others keep of the gain. */
export const placeRate = 16;

/** Puts every value outside the places back to the base; to be called after each step. */
export async function keepToPlaces(
  trainer: Pick<Trainer, "edit">,
  base: (name: string) => Promise<Float32Array>,
  places: ReadonlyMap<string, Uint32Array>,
): Promise<void> {
  await trainer.edit(async (name, weights) => {
    const indices = places.get(name) as Uint32Array;
    const kept = Float32Array.from(indices, (index) => weights[index] as number);
    weights.set(await base(name));
    for (let i = 0; i < indices.length; i++) weights[indices[i] as number] = kept[i] as number;
  });
}
