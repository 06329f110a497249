/** Registration, stake, axons: what a neuron does before it takes part. */

import assert from "node:assert/strict";
import { meetsDifficulty, sealOf } from "../../../../src/chain/localnet/runtime/subtensor/registration.ts";
import { subtensorStorage as items } from "../../../../src/chain/localnet/runtime/subtensor/storage.ts";
import { systemStorage } from "../../../../src/chain/localnet/runtime/system.ts";
import { type Bench, createBench, netuid, pairOf, subnetOf, tao } from "../support.ts";

const burned = "subtensorModule.burnedRegister";

describe("registration", () => {
  const latest = (bench: Bench) => bench.chain.ledgerAt(bench.chain.best());

  it("by burning gives the next uid and costs the burn, and the hotkey belongs to who paid", async () => {
    const { genesis, alice } = await subnetOf({ burn: 5n * tao });
    const bench = await createBench(genesis);
    const newcomer = await pairOf("//Newcomer");
    const before = latest(bench).get(systemStorage.Account, bench.account(alice)).data.free;
    assert.equal(bench.send(alice, burned, netuid, newcomer.address), "ok");
    const ledger = latest(bench);
    assert.equal(ledger.get(items.Uids, netuid, bench.account(newcomer)), 3);
    assert.equal(ledger.get(items.Keys, netuid, 3), bench.account(newcomer));
    assert.equal(ledger.get(items.BlockAtRegistration, netuid, 3), 1n);
    assert.equal(ledger.get(items.Owner, bench.account(newcomer)), bench.account(alice));
    assert.deepEqual(ledger.get(items.LastUpdate, netuid), [0n, 0n, 0n, 1n]);
    assert.equal(before - ledger.get(systemStorage.Account, bench.account(alice)).data.free, 5n * tao);
    assert.ok(bench.events(bench.chain.best()).some(({ name, data }) => name === "SubtensorModule.NeuronRegistered" && data[1] === 3));
    assert.equal(bench.send(alice, burned, netuid, newcomer.address), "HotKeyAlreadyRegisteredInSubNet");
  });

  it("is refused on the root, on no subnet, when closed, too often, and without the money", async () => {
    const { genesis, alice } = await subnetOf({ registrationsPerBlock: 1, registrationsPerInterval: 1, burn: 2n * tao });
    const poor = await pairOf("//Poor");
    const bench = await createBench({ ...genesis, balances: [{ address: poor.address, free: tao }] });
    const hotkey = (index: number) => pairOf(`//Hotkey//${index}`).then(({ address }) => address);
    assert.equal(bench.send(alice, burned, 0, await hotkey(0)), "RegistrationNotPermittedOnRootSubnet");
    assert.equal(bench.send(alice, burned, 9, await hotkey(0)), "SubnetNotExists");
    assert.equal(bench.send(poor, burned, netuid, await hotkey(0)), "NotEnoughBalanceToStake");
    bench.chain.submit(bench.sign(alice, burned, [netuid, await hotkey(1)]));
    assert.equal(bench.send(poor, burned, netuid, await hotkey(2)), "TooManyRegistrationsThisBlock");
    for (const index of [3, 4]) {
      assert.equal(bench.send(alice, burned, netuid, await hotkey(index)), "ok");
    }
    assert.equal(bench.send(alice, burned, netuid, await hotkey(5)), "TooManyRegistrationsThisInterval");
    bench.produceTo(100);
    assert.equal(bench.send(alice, burned, netuid, await hotkey(5)), "ok");
    assert.equal(bench.send(alice, "adminUtils.sudoSetNetworkRegistrationAllowed", netuid, false), "ok");
    assert.equal(bench.send(alice, burned, netuid, await hotkey(6)), "SubNetRegistrationDisabled");
  });

  it("on a full subnet takes the place of the neuron that registered first and is not immune, and what it said and was said of it goes", async () => {
    const { genesis, alice, first, second } = await subnetOf({ maximumUids: 3, immunityPeriod: 5 });
    const bench = await createBench(genesis);
    assert.equal(bench.send(second, "subtensorModule.setWeights", netuid, [0, 2], [5, 5], 0), "ok");
    assert.equal(bench.send(first, "subtensorModule.setWeights", netuid, [1, 2], [5, 5], 0), "ok");
    bench.produceTo(10);
    const newcomer = await pairOf("//Newcomer");
    assert.equal(bench.send(alice, burned, netuid, newcomer.address), "ok");
    const ledger = latest(bench);
    assert.equal(ledger.get(items.Keys, netuid, 0), bench.account(newcomer));
    assert.equal(ledger.get(items.Uids, netuid, bench.account(first)), undefined);
    assert.equal(ledger.get(items.SubnetworkN, netuid), 3);
    assert.deepEqual(ledger.get(items.Weights, netuid, 0), []);
    assert.deepEqual(ledger.get(items.Weights, netuid, 1), [
      [0, 0],
      [2, 65_535],
    ]);
    assert.deepEqual(ledger.get(items.ValidatorPermit, netuid), [false, true, false]);
  });

  it("by work takes the seal of a recent block and the hotkey, once it is good enough", async () => {
    const { genesis } = await subnetOf({ powDifficulty: 50n });
    const bench = await createBench(genesis);
    const hotkey = await pairOf("//Worker");
    const block = bench.produce();
    const solve = (good: boolean) => {
      for (let nonce = 0; ; nonce++) {
        const seal = sealOf(block.hash, BigInt(nonce), bench.account(hotkey));
        if (meetsDifficulty(seal, 50n) === good) {
          return [netuid, block.header.number, nonce, seal, hotkey.address, (hotkey as { address: string }).address];
        }
      }
    };
    assert.equal(bench.send(hotkey, "subtensorModule.register", ...solve(false)), "InvalidDifficulty");
    const work = solve(true);
    assert.equal(bench.send(hotkey, "subtensorModule.register", ...work.with(2, (work[2] as number) + 1)), "InvalidSeal");
    const late = solve(true);
    assert.equal(bench.send(hotkey, "subtensorModule.register", ...late), "InvalidWorkBlock");
  });

  it("by work succeeds in time", async () => {
    const { genesis } = await subnetOf({ powDifficulty: 1n });
    const bench = await createBench(genesis);
    const hotkey = await pairOf("//Worker");
    const block = bench.produce();
    const seal = sealOf(block.hash, 0n, bench.account(hotkey));
    assert.equal(bench.send(hotkey, "subtensorModule.register", netuid, 1, 0, seal, hotkey.address, hotkey.address), "ok");
    assert.equal(latest(bench).get(items.Uids, netuid, bench.account(hotkey)), 3);
  });
});

describe("stake", () => {
  it("moves rao to alpha and back one to one, in shares as mainnet keeps them", async () => {
    const { genesis, alice, miner } = await subnetOf();
    const bench = await createBench(genesis);
    const read = () => {
      const ledger = bench.chain.ledgerAt(bench.chain.best());
      const [hotkey, coldkey] = [bench.account(miner), bench.account(alice)];
      return [ledger.get(items.TotalHotkeyAlpha, hotkey, netuid), ledger.get(items.Alpha, hotkey, coldkey, netuid).bits >> 64n];
    };
    assert.equal(bench.send(alice, "subtensorModule.addStake", miner.address, netuid, 3n * tao), "ok");
    assert.deepEqual(read(), [3n * tao, 3n * tao]);
    assert.equal(bench.send(alice, "subtensorModule.removeStake", miner.address, netuid, 4n * tao), "NotEnoughStakeToWithdraw");
    assert.equal(bench.send(alice, "subtensorModule.removeStake", miner.address, netuid, tao), "ok");
    assert.deepEqual(read(), [2n * tao, 2n * tao]);
    assert.equal(bench.send(alice, "subtensorModule.addStake", miner.address, netuid, 10), "AmountTooLow");
    assert.equal(bench.send(alice, "subtensorModule.addStake", miner.address, 9, tao), "SubnetNotExists");
    const nobody = await pairOf("//Nobody");
    assert.equal(bench.send(alice, "subtensorModule.addStake", nobody.address, netuid, tao), "HotKeyAccountNotExists");
    assert.equal(bench.send(alice, "subtensorModule.addStake", miner.address, netuid, 2_000_000n * tao), "NotEnoughBalanceToStake");
  });
});

describe("axons", () => {
  const serve = (ip: number | string, port = 8091, ipType = 4) => [netuid, 1, ip, port, ipType, 4, 0, 0] as const;
  const call = "subtensorModule.serveAxon";

  it("are announced once in the rate limit", async () => {
    const { genesis, miner } = await subnetOf({ servingRateLimit: 4 });
    const bench = await createBench(genesis);
    assert.equal(bench.send(miner, call, ...serve(0x0a000001)), "ok");
    const ledger = bench.chain.ledgerAt(bench.chain.best());
    const axon = { block: 1n, version: 1, ip: 0x0a000001n, port: 8091, ipType: 4, protocol: 4, placeholder1: 0, placeholder2: 0 };
    assert.deepEqual(ledger.get(items.Axons, netuid, bench.account(miner)), axon);
    bench.produceTo(3);
    assert.equal(bench.send(miner, call, ...serve(0x0a000002)), "1010: Custom error: 12");
    bench.produce();
    assert.equal(bench.send(miner, call, ...serve(0x0a000002)), "ok");
  });

  for (const [what, args, refusal] of [
    ["127.0.0.1", serve(0x7f000001), 11],
    ["255.255.255.255", serve(0xffffffff), 11],
    ["::1", serve(1, 8091, 6), 11],
    ["port 0", serve(0x0a000001, 0), 13],
    ["an address of another kind", serve(0x0a000001, 8091, 5), 255],
  ] as const) {
    it(`are refused before the pool with Subtensor's code: ${what}`, async () => {
      const { genesis, miner } = await subnetOf();
      const bench = await createBench(genesis);
      assert.equal(bench.send(miner, call, ...args), `1010: Custom error: ${refusal}`);
    });
  }

  it("are refused from who is not registered", async () => {
    const { genesis } = await subnetOf();
    const bench = await createBench(genesis);
    assert.equal(bench.send(await pairOf("//Stranger"), call, ...serve(0x0a000001)), "1010: Custom error: 10");
  });
});
