/** What happened in a block, from its System.Events, decoded by the block's own metadata. */
import type { State } from "./state.ts";

export interface ChainEvent {
  /** `Commitments`, `SubtensorModule`. */
  readonly pallet: string;
  /** `Commitment`, `ExtrinsicFailed`. */
  readonly name: string;
  /** A record of its fields, a list where they have no names, the value alone where there is one without a name. */
  readonly data: unknown;
  /** The index of the extrinsic that caused it; undefined for what the block itself did. */
  readonly extrinsicIndex: number | undefined;
}

interface EventRecord {
  readonly phase: { readonly type: string; readonly value: number };
  readonly event: { readonly type: string; readonly value: { readonly type: string; readonly value: unknown } };
}

/** Every event of the state's block, in order. */
export async function readEvents(state: State): Promise<ChainEvent[]> {
  const [records] = await state.values<[EventRecord[]]>(["System", "Events"]);
  return records.map(({ phase, event }) => ({
    pallet: event.type,
    name: event.value.type,
    data: event.value.value,
    extrinsicIndex: phase.type === "ApplyExtrinsic" ? phase.value : undefined,
  }));
}

/** The index of the last extrinsic in the block that set a hotkey's commitment on a subnet, undefined where none did. */
export async function commitmentIndex(state: State, netuid: number, hotkey: string): Promise<number | undefined> {
  const events = await readEvents(state);
  const found = events.findLast(({ pallet, name, data }) => {
    const { netuid: subnet, who } = (data ?? {}) as { netuid?: number; who?: string };
    return pallet === "Commitments" && name === "Commitment" && subnet === netuid && who === hotkey;
  });
  return found?.extrinsicIndex;
}
