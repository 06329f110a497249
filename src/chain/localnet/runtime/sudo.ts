/** Sudo: one key may do what root may. */

import { errors, event, events, optionalSingle, storage } from "../metadata/declarations.ts";
import type { Origin } from "../metadata/pallet.ts";
import { call, type PalletDefinition } from "../metadata/pallet.ts";
import { type NestedCall, option, result, runtimeCall, type Tagged, unit } from "../metadata/scale.ts";
import { accountId, dispatchError, multiAddress, weight } from "../metadata/types.ts";
import { lookup } from "./balances.ts";
import { DispatchError, ensure, type Ledger } from "./ledger.ts";
import { ensureSigned } from "./system.ts";

export const sudoStorage = storage("Sudo", { Key: optionalSingle(accountId) });

const sudoEvents = events("Sudo", {
  Sudid: event(0, { sudoResult: result(unit, dispatchError) }),
  KeyChanged: event(1, { old: option(accountId), new: accountId }),
});

const sudoErrors = errors("Sudo", { RequireSudo: 0 });

function ensureSudo(ledger: Ledger, origin: Origin): void {
  ensure(ensureSigned(origin) === ledger.get(sudoStorage.Key), sudoErrors.RequireSudo);
}

/**
 * @param dispatch runs a call of any pallet, itself included
 * @param encodeError gives a refused call as events carry it
 */
export function sudo(
  dispatch: (ledger: Ledger, origin: Origin, nested: NestedCall) => void,
  encodeError: (error: DispatchError) => Tagged,
): PalletDefinition {
  const asRoot = (ledger: Ledger, origin: Origin, nested: NestedCall): void => {
    ensureSudo(ledger, origin);
    try {
      ledger.transaction(() => dispatch(ledger, { kind: "root" }, nested));
      ledger.deposit(sudoEvents.Sudid, { sudoResult: { type: "Ok", value: undefined } });
    } catch (error) {
      if (!(error instanceof DispatchError)) {
        throw error;
      }
      ledger.deposit(sudoEvents.Sudid, { sudoResult: { type: "Err", value: encodeError(error) } });
    }
  };
  return {
    name: "Sudo",
    index: 12,
    storage: sudoStorage,
    events: sudoEvents,
    errors: sudoErrors,
    calls: {
      sudo: call(0, { call: runtimeCall }, (ledger, origin, { call: nested }) => asRoot(ledger, origin, nested)),
      sudo_unchecked_weight: call(1, { call: runtimeCall, weight }, (ledger, origin, { call: nested }) => asRoot(ledger, origin, nested)),
      set_key: call(2, { new: multiAddress }, (ledger, origin, { new: address }) => {
        ensureSudo(ledger, origin);
        const old = ledger.get(sudoStorage.Key);
        const replacement = lookup(address);
        ledger.set(sudoStorage.Key, [], replacement);
        ledger.deposit(sudoEvents.KeyChanged, { old, new: replacement });
      }),
    },
  };
}
