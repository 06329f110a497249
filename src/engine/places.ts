/**
 * Training for a submission that can change only some places of each tensor (docs/protocol.md, section 6). Sending what a dense run did at those
 * places would lose nearly all of it; so all other values stay at the base while it trains, and what is sent is what was trained, up to its rounding. A
 * few values have to go further than many to gain as much: they are trained at a higher rate.
 */

/** What the task's learning rate is multiplied by where one value in ten is trained; docs/performance.md has what others keep of the gain. */
export const placeRate = 16;

/** Puts every value outside the places back to what it was before a step. */
export function keepToPlaces(values: Float32Array, before: Float32Array, places: Uint32Array): void {
  const kept = new Float32Array(places.length);
  for (let index = 0; index < places.length; index++) kept[index] = values[places[index] as number] as number;
  values.set(before);
  for (let index = 0; index < places.length; index++) values[places[index] as number] = kept[index] as number;
}
