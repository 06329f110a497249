/** Balances, sudo, hyperparameters. */

import assert from "node:assert/strict";
import { balancesStorage, freeBalance } from "../../../../src/chain/localnet/runtime/balances.ts";
import { subtensorStorage as items } from "../../../../src/chain/localnet/runtime/subtensor/storage.ts";
import { type Bench, createBench, netuid, pairOf, subnetOf, tao } from "../support.ts";

const latest = (bench: Bench) => bench.chain.ledgerAt(bench.chain.best());

describe("balances", () => {
  it("move by transfer, new accounts with their events, and no rao appears or disappears but the fee", async () => {
    const bench = await createBench();
    const [alice, newcomer] = [await pairOf("//Alice"), await pairOf("//Newcomer")];
    const total = latest(bench).get(balancesStorage.TotalIssuance);
    assert.equal(bench.send(alice, "balances.transferKeepAlive", newcomer.address, 5n * tao), "ok");
    const happened = bench.events(bench.chain.best());
    for (const name of ["System.NewAccount", "Balances.Endowed", "Balances.Transfer"]) {
      assert.ok(
        happened.some((event) => event.name === name),
        name,
      );
    }
    assert.equal(freeBalance(latest(bench), bench.account(newcomer)), 5n * tao);
    const fee = BigInt(happened.find(({ name }) => name === "TransactionPayment.TransactionFeePaid")?.data[1] as number);
    assert.equal(latest(bench).get(balancesStorage.TotalIssuance), total - fee);
    assert.equal(bench.send(newcomer, "balances.transferKeepAlive", alice.address, 6n * tao), "token");
    assert.equal(bench.send(newcomer, "balances.transferAll", alice.address, false), "ok");
    assert.equal(freeBalance(latest(bench), bench.account(newcomer)), 0n);
  });

  it("undo everything of a call that fails but the fee and the nonce", async () => {
    const bench = await createBench();
    const [alice, other] = [await pairOf("//Alice"), await pairOf("//Other")];
    assert.equal(bench.send(alice, "balances.transferKeepAlive", other.address, 10), "token");
    assert.equal(bench.events(bench.chain.best()).filter(({ name }) => name.startsWith("Balances.")).length, 0);
    assert.equal(bench.send(alice, "balances.transferKeepAlive", other.address, tao), "ok");
  });
});

describe("sudo", () => {
  it("lets its key do what root may, and says in the event how that went", async () => {
    const { genesis, alice } = await subnetOf();
    const bench = await createBench(genesis);
    assert.equal(bench.send(alice, "sudo.sudo", bench.call("adminUtils.sudoSetTempo", netuid, 99)), "ok");
    assert.equal(latest(bench).get(items.Tempo, netuid), 99);
    const sudid = () => bench.events(bench.chain.best()).find(({ name }) => name === "Sudo.Sudid")?.data[0];
    assert.deepEqual(sudid(), { ok: null });
    assert.equal(bench.send(alice, "sudo.sudo", bench.call("adminUtils.sudoSetTempo", 9, 99)), "ok");
    assert.deepEqual(sudid(), { err: { module: { index: 19, error: "0x00000000" } } });
    assert.equal(bench.send(await pairOf("//Bob"), "sudo.sudo", bench.call("adminUtils.sudoSetTempo", netuid, 1)), "RequireSudo");
  });

  it("can set balances, and be handed on", async () => {
    const bench = await createBench();
    const [alice, bob] = [await pairOf("//Alice"), await pairOf("//Bob")];
    assert.equal(bench.send(alice, "sudo.sudo", bench.call("balances.forceSetBalance", bob.address, 7)), "ok");
    assert.equal(freeBalance(latest(bench), bench.account(bob)), 7n);
    assert.equal(bench.send(alice, "sudo.setKey", bob.address), "ok");
    assert.equal(bench.send(alice, "sudo.sudo", bench.call("balances.forceSetBalance", bob.address, 8)), "RequireSudo");
    assert.equal(bench.send(bob, "sudo.sudo", bench.call("balances.forceSetBalance", bob.address, 8)), "ok");
  });
});

describe("hyperparameters", () => {
  it("are the owner's to set where mainnet lets it, and root's alone where not", async () => {
    const { genesis, alice } = await subnetOf();
    const owner = await pairOf("//Owner");
    const bench = await createBench({
      subnets: (genesis.subnets ?? []).map((subnet) => ({ ...subnet, ownerColdkey: owner.address })),
      balances: [{ address: owner.address, free: tao }],
    });
    assert.equal(bench.send(owner, "adminUtils.sudoSetMinAllowedWeights", netuid, 3), "ok");
    assert.equal(latest(bench).get(items.MinAllowedWeights, netuid), 3);
    assert.equal(bench.send(alice, "adminUtils.sudoSetMinAllowedWeights", netuid, 4), "NotSubnetOwner");
    assert.equal(bench.send(owner, "adminUtils.sudoSetTempo", netuid, 4), "badOrigin");
    assert.equal(bench.send(owner, "adminUtils.sudoSetCommitRevealWeightsEnabled", netuid, true), "ok");
    assert.equal(latest(bench).get(items.CommitRevealWeightsEnabled, netuid), true);
  });
});
