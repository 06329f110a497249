import assert from "node:assert/strict";
import { Keyring } from "@polkadot/keyring";
import type { Hex } from "../../../src/chain/localnet/metadata/scale.ts";
import { createPool, type PoolStatus, RpcError } from "../../../src/chain/localnet/pool.ts";
import { decodeExtrinsic, type Extrinsic } from "../../../src/chain/localnet/runtime/extrinsic.ts";
import { systemStorage } from "../../../src/chain/localnet/runtime/system.ts";
import { type Bench, createBench, pairOf, type Signing, tao } from "./support.ts";

const remark = "system.remark";

describe("the transaction pool", () => {
  /** Submits, and gives "ready", "future" or `code: reason`. */
  function submit(bench: Bench, extrinsic: Extrinsic): string {
    try {
      return bench.chain.submit(extrinsic);
    } catch (error) {
      assert.ok(error instanceof RpcError, String(error));
      return `${error.code}: ${error.data ?? error.message}`;
    }
  }

  function watched(bench: Bench, extrinsic: Extrinsic): PoolStatus[] {
    const seen: PoolStatus[] = [];
    bench.chain.pool.watch(extrinsic.hash, (status) => seen.push(status));
    return seen;
  }

  const included = (bench: Bench): Hex[] => bench.chain.best().extrinsics.slice(1) as Hex[];

  it("keeps a nonce from the future until the gap is filled, and then takes all in order", async () => {
    const bench = await createBench();
    const alice = await pairOf("//Alice");
    const [zero, one, two] = [0, 1, 2].map((nonce) => bench.sign(alice, remark, ["0x00"], { nonce })) as [Extrinsic, Extrinsic, Extrinsic];
    const seen = watched(bench, two);
    assert.equal(submit(bench, two), "future");
    bench.produce();
    assert.deepEqual(included(bench), []);
    assert.equal(submit(bench, zero), "ready");
    assert.equal(bench.chain.pool.nextNonce(bench.account(alice), 0), 1);
    assert.equal(submit(bench, one), "ready");
    assert.deepEqual(seen, ["ready"]);
    assert.equal(bench.chain.pool.nextNonce(bench.account(alice), 0), 3);
    bench.produce();
    assert.deepEqual(included(bench), [zero.bytes, one.bytes, two.bytes]);
    assert.equal(bench.chain.ledgerAt(bench.chain.best()).get(systemStorage.Account, bench.account(alice)).nonce, 3);
  });

  it("refuses what it holds with 1013, and what a block holds with 1012", async () => {
    const bench = await createBench();
    const extrinsic = bench.sign(await pairOf("//Alice"), remark, ["0x00"]);
    assert.equal(submit(bench, extrinsic), "ready");
    assert.equal(submit(bench, extrinsic), `1013: ${extrinsic.hash}`);
    bench.produce();
    assert.equal(submit(bench, extrinsic), "1012: Transaction is temporarily banned");
  });

  it("replaces one of the same nonce only by one that tips more, and tells the one that goes", async () => {
    const bench = await createBench();
    const alice = await pairOf("//Alice");
    const first = bench.sign(alice, remark, ["0x01"], { tip: 5n });
    const seen = watched(bench, first);
    assert.equal(submit(bench, first), "ready");
    const same = bench.sign(alice, remark, ["0x02"], { tip: 5n });
    assert.match(submit(bench, same), /^1014: The transaction has too low priority/);
    const better = bench.sign(alice, remark, ["0x03"], { tip: 6n });
    assert.equal(submit(bench, better), "ready");
    assert.deepEqual(seen, [{ usurped: better.hash }]);
    bench.produce();
    assert.deepEqual(included(bench), [better.bytes]);
  });

  it("drops what another of the same nonce has made stale", async () => {
    const bench = await createBench();
    const alice = await pairOf("//Alice");
    bench.send(alice, remark, "0x01");
    assert.equal(submit(bench, bench.sign(alice, remark, ["0x02"], { nonce: 0 })), "1010: Transaction is outdated");
  });

  const badlySigned: [string, (bench: Bench) => Signing, string][] = [
    ["over another genesis", () => ({ genesisHash: `0x${"ab".repeat(32)}` }), "1010: Transaction has a bad signature"],
    ["over another spec version", () => ({ specVersion: 392 }), "1010: Transaction has a bad signature"],
    [
      "over an era that is over",
      (bench) => ({ period: 8, from: bench.chain.blockAt(2) as never }),
      "1010: Transaction has a bad signature",
    ],
  ];
  for (const [what, signing, refusal] of badlySigned) {
    it(`refuses a signature ${what}`, async () => {
      const bench = await createBench();
      bench.produce(20);
      assert.equal(submit(bench, bench.sign(await pairOf("//Alice"), remark, ["0x00"], signing(bench))), refusal);
    });
  }

  it("refuses another's signature, and bytes that were changed after signing", async () => {
    const bench = await createBench();
    const [alice, bob] = [await pairOf("//Alice"), await pairOf("//Bob")];
    const { registry } = bench.chain.runtime.metadata;
    const extrinsic = bench.sign(alice, remark, ["0x1234"]);
    const changed = decodeExtrinsic(registry, extrinsic.bytes.replace(/1234$/, "1235") as Hex);
    assert.equal(submit(bench, changed), "1010: Transaction has a bad signature");
    const swapped = extrinsic.bytes.replace(bench.account(alice).slice(2), bench.account(bob).slice(2)) as Hex;
    assert.equal(submit(bench, decodeExtrinsic(registry, swapped)), "1010: Transaction has a bad signature");
  });

  it("reads a signature of zeros, with which clients ask for fees, and refuses it like any other wrong one", async () => {
    const bench = await createBench();
    const extrinsic = bench.sign(await pairOf("//Alice"), remark, ["0x1234"]);
    const zeros = extrinsic.bytes.replace(/(8400.{64}01).{128}/, (_, head: string) => `${head}${"0".repeat(128)}`) as Hex;
    const decoded = decodeExtrinsic(bench.chain.runtime.metadata.registry, zeros);
    assert.equal(decoded.bytes, zeros);
    assert.deepEqual(decoded.call, extrinsic.call);
    assert.equal(submit(bench, decoded), "1010: Transaction has a bad signature");
  });

  it("takes ed25519 signatures as the chain does", async () => {
    const pair = new Keyring({ type: "ed25519" }).addFromUri("//Edward");
    const bench = await createBench({ balances: [{ address: pair.address, free: tao }] });
    assert.equal(bench.send(pair, remark, "0x00"), "ok");
  });

  it("takes mortal transactions while their era lasts, and drops them when it ends in the pool", async () => {
    const bench = await createBench();
    const alice = await pairOf("//Alice");
    bench.produce(5);
    const soon = bench.sign(alice, remark, ["0x00"], { period: 8 });
    assert.equal(submit(bench, soon), "ready");
    bench.produce();
    assert.deepEqual(included(bench), [soon.bytes]);
    const waiting = bench.sign(alice, remark, ["0x01"], { period: 8, nonce: 7 });
    const seen = watched(bench, waiting);
    assert.equal(submit(bench, waiting), "future");
    bench.produce(16);
    assert.deepEqual(seen, ["invalid"]);
    assert.deepEqual(bench.chain.pool.pending(), []);
  });

  it("refuses a paying call from an account that cannot pay, and charges the others", async () => {
    const poor = await pairOf("//Poor");
    const bench = await createBench({ balances: [{ address: poor.address, free: 1000n }] });
    assert.match(submit(bench, bench.sign(poor, remark, ["0x00"])), /^1010: Inability to pay some fees/);
    const alice = await pairOf("//Alice");
    const free = () => bench.chain.ledgerAt(bench.chain.best()).get(systemStorage.Account, bench.account(alice)).data.free;
    const before = free();
    bench.send(alice, remark, "0x00");
    const paid = bench.events(bench.chain.best()).find(({ name }) => name === "TransactionPayment.TransactionFeePaid");
    assert.equal(before - free(), BigInt(paid?.data[1] as number));
    assert.ok(before > free());
  });

  it("lets a ban pass after half an hour", () => {
    let now = 0;
    const pool = createPool(() => now);
    const extrinsic = { hash: "0x01", bytes: "0x00", length: 1, call: { pallet: 0, call: 0, args: [] }, signed: undefined } as Extrinsic;
    const validity = { account: "0xaa" as Hex, nonce: 0, nextNonce: 0, priority: 1n, death: 100 };
    pool.submit(extrinsic, () => validity);
    pool.remove(extrinsic.hash, "included");
    assert.throws(() => pool.submit(extrinsic, () => validity), { code: 1012 });
    now += 31 * 60_000;
    assert.equal(
      pool.submit(extrinsic, () => validity),
      "ready",
    );
  });
});
