/** Balances in rao (u64, 9 decimals), transfers, and the flat fee that paying calls are charged. */

import { errors, event, events, single, storage } from "../metadata/declarations.ts";
import { call, type PalletDefinition } from "../metadata/pallet.ts";
import { bool, compact, type Hex, type Tagged, u64 } from "../metadata/scale.ts";
import { accountId, multiAddress } from "../metadata/types.ts";
import { DispatchError, ensure, type Ledger } from "./ledger.ts";
import { ensureRoot, ensureSigned, setFree, systemStorage } from "./system.ts";

/** Rao below which an account may not fall by a transfer that keeps it alive. */
export const existentialDeposit = 500n;

export const balancesStorage = storage("Balances", { TotalIssuance: single(u64, 0n) });

export const balancesEvents = events("Balances", {
  Endowed: event(0, { account: accountId, freeBalance: u64 }),
  Transfer: event(2, { from: accountId, to: accountId, amount: u64 }),
  BalanceSet: event(3, { who: accountId, free: u64 }),
  Deposit: event(7, { who: accountId, amount: u64 }),
  Withdraw: event(8, { who: accountId, amount: u64 }),
});

const balancesErrors = errors("Balances", { InsufficientBalance: 2, ExistentialDeposit: 3, Expendability: 4 });

/** The account that a MultiAddress names; only `Id` can be looked up. */
export function lookup(address: Tagged<string, Hex>): Hex {
  if (address.type !== "Id" || address.value === undefined) {
    throw new DispatchError({ type: "CannotLookup" });
  }
  return address.value;
}

export const freeBalance = (ledger: Ledger, account: Hex): bigint => ledger.get(systemStorage.Account, account).data.free;

/** Adds newly issued rao. */
export function issue(ledger: Ledger, account: Hex, amount: bigint): void {
  setFree(ledger, account, freeBalance(ledger, account) + amount);
  ledger.set(balancesStorage.TotalIssuance, [], ledger.get(balancesStorage.TotalIssuance) + amount);
}

/** Takes rao out of circulation. @returns false, having changed nothing, when there is too little */
export function burn(ledger: Ledger, account: Hex, amount: bigint): boolean {
  const free = freeBalance(ledger, account);
  if (free < amount) {
    return false;
  }
  if (amount === 0n) {
    return true;
  }
  setFree(ledger, account, free - amount);
  ledger.set(balancesStorage.TotalIssuance, [], ledger.get(balancesStorage.TotalIssuance) - amount);
  return true;
}

function transfer(ledger: Ledger, from: Hex, to: Hex, amount: bigint, keepAlive: boolean): void {
  const free = freeBalance(ledger, from);
  if (free < amount) {
    throw new DispatchError({ type: "Token", value: { type: "FundsUnavailable" } });
  }
  if (keepAlive && free - amount < existentialDeposit) {
    throw new DispatchError({ type: "Token", value: { type: "NotExpendable" } });
  }
  if (freeBalance(ledger, to) + amount < existentialDeposit) {
    throw new DispatchError({ type: "Token", value: { type: "BelowMinimum" } });
  }
  const isNew = ledger.get(systemStorage.Account, to).providers === 0;
  setFree(ledger, from, free - amount);
  setFree(ledger, to, freeBalance(ledger, to) + amount);
  if (isNew) {
    ledger.deposit(balancesEvents.Endowed, { account: to, freeBalance: amount });
  }
  ledger.deposit(balancesEvents.Transfer, { from, to, amount });
}

const destination = { dest: multiAddress, value: compact(u64) };

export const balances: PalletDefinition = {
  name: "Balances",
  index: 5,
  storage: balancesStorage,
  events: balancesEvents,
  errors: balancesErrors,
  calls: {
    transfer_allow_death: call(
      0,
      destination,
      (ledger, origin, { dest, value }) => transfer(ledger, ensureSigned(origin), lookup(dest), value, false),
      { paysFee: true },
    ),
    transfer_keep_alive: call(
      3,
      destination,
      (ledger, origin, { dest, value }) => transfer(ledger, ensureSigned(origin), lookup(dest), value, true),
      { paysFee: true },
    ),
    transfer_all: call(
      4,
      { dest: multiAddress, keepAlive: bool },
      (ledger, origin, { dest, keepAlive }) => {
        const from = ensureSigned(origin);
        const spare = freeBalance(ledger, from) - (keepAlive ? existentialDeposit : 0n);
        ensure(spare > 0n, balancesErrors.InsufficientBalance);
        transfer(ledger, from, lookup(dest), spare, keepAlive);
      },
      { paysFee: true },
    ),
    force_set_balance: call(8, { who: multiAddress, newFree: compact(u64) }, (ledger, origin, { who, newFree }) => {
      ensureRoot(origin);
      const account = lookup(who);
      const total = ledger.get(balancesStorage.TotalIssuance) - freeBalance(ledger, account) + newFree;
      setFree(ledger, account, newFree);
      ledger.set(balancesStorage.TotalIssuance, [], total);
      ledger.deposit(balancesEvents.BalanceSet, { who: account, free: newFree });
    }),
  },
  constants: { ExistentialDeposit: { type: u64, value: existentialDeposit } },
};

export const paymentEvents = events("TransactionPayment", {
  TransactionFeePaid: event(0, { who: accountId, actualFee: u64, tip: u64 }),
});

export const transactionPayment: PalletDefinition = { name: "TransactionPayment", index: 6, events: paymentEvents };

/** The fee of a paying call in rao: a stand-in for Subtensor's weights, of about the same size. */
export const feeOf = (paysFee: boolean, encodedLength: number): bigint => (paysFee ? 100_000n + 100n * BigInt(encodedLength) : 0n);
