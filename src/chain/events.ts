/** What happened in a block, from its System.Events, decoded by the block's own metadata. */
import type { Codec } from "@polkadot/types/types";
import { publicKeyOf } from "../protocol/hotkey.ts";
import type { State } from "./state.ts";

export interface ChainEvent {
  /** The pallet as polkadot.js writes it: `commitments`, `subtensorModule`. */
  readonly section: string;
  /** The event: `Commitment`, `ExtrinsicFailed`. */
  readonly method: string;
  readonly data: readonly Codec[];
  /** The index of the extrinsic that caused it; undefined for what the block itself did. */
  readonly extrinsicIndex: number | undefined;
}

interface EventRecord {
  readonly phase: { readonly isApplyExtrinsic: boolean; readonly asApplyExtrinsic: { toNumber(): number } };
  readonly event: { readonly section: string; readonly method: string; readonly data: readonly Codec[] };
}

/** Every event of the state's block, in order. */
export async function readEvents(state: State): Promise<ChainEvent[]> {
  const [records] = await state.values(["system", "events"]);
  return [...((records ?? []) as unknown as Iterable<EventRecord>)].map(({ phase, event }) => ({
    section: event.section,
    method: event.method,
    data: [...event.data],
    extrinsicIndex: phase.isApplyExtrinsic ? phase.asApplyExtrinsic.toNumber() : undefined,
  }));
}

/** The index of the last extrinsic in the block that set a hotkey's commitment on a subnet, undefined where none did. */
export async function commitmentIndex(state: State, netuid: number, hotkey: string): Promise<number | undefined> {
  const account = Buffer.from(publicKeyOf(hotkey));
  const events = await readEvents(state);
  const found = events.findLast(
    ({ section, method, data }) =>
      section === "commitments" &&
      method === "Commitment" &&
      Number(data[0]) === netuid &&
      account.equals(data[1]?.toU8a() ?? account.subarray(1)),
  );
  return found?.extrinsicIndex;
}
