/** Where a metadata puts things: the numbers under which pallets, calls, events and errors go over the wire. */

import type { Metadata } from "@polkadot/types";

export interface Indices {
  pallet(name: string): number;
  call(pallet: string, name: string): number;
  event(pallet: string, name: string): number;
  error(pallet: string, name: string): number;
}

type Kind = "calls" | "events" | "errors";

/** Asking for what the metadata does not have throws: whoever adopts a metadata checks before. */
export function readIndices({ asLatest: { lookup, pallets } }: Metadata): Indices {
  const known = new Map<string, number>();
  for (const pallet of pallets) {
    const name = pallet.name.toString();
    known.set(name, pallet.index.toNumber());
    for (const kind of ["calls", "events", "errors"] as const) {
      const type = pallet[kind].isSome ? pallet[kind].unwrap().type : undefined;
      for (const variant of type === undefined ? [] : lookup.getSiType(type).def.asVariant.variants) {
        known.set(`${name} ${kind} ${variant.name.toString()}`, variant.index.toNumber());
      }
    }
  }
  const find = (key: string): number => {
    const index = known.get(key);
    if (index === undefined) {
      throw new TypeError(`the metadata has no ${key}`);
    }
    return index;
  };
  const inPallet = (kind: Kind) => (pallet: string, name: string) => find(`${pallet} ${kind} ${name}`);
  return { pallet: find, call: inPallet("calls"), event: inPallet("events"), error: inPallet("errors") };
}
