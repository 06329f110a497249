/** The unmodified ApiPromise on a real socket: connects, reads, writes and follows, with no types or extensions of ours. */

import assert from "node:assert/strict";
import type { ApiPromise, SubmittableResult } from "@polkadot/api";
import type { SubmittableExtrinsic } from "@polkadot/api/types";
import type { KeyringPair } from "@polkadot/keyring/types";
import type { Header } from "@polkadot/types/interfaces";
import type { Codec } from "@polkadot/types/types";
import { type Localnet, startLocalnet } from "../../../src/chain/localnet/index.ts";

const netuid = 3;
const tao = 1_000_000_000n;

describe("ApiPromise on a localnet", () => {
  let net: Localnet;
  let api: ApiPromise;
  let alice: KeyringPair;
  let validator: KeyringPair;
  let miner: KeyringPair;

  before(async () => {
    // Loaded here, and not above: the localnet loads the same packages in the same way, and so there is one copy of each.
    const { ApiPromise, Keyring, WsProvider } = await import("@polkadot/api");
    const { cryptoWaitReady } = await import("@polkadot/util-crypto");
    await cryptoWaitReady();
    const keyring = new Keyring({ type: "sr25519" });
    [alice, validator, miner] = ["//Alice", "//Validator", "//Miner"].map((uri) => keyring.addFromUri(uri)) as [
      KeyringPair,
      KeyringPair,
      KeyringPair,
    ];
    net = await startLocalnet({
      port: 0,
      blockTime: 100,
      finalityLag: 2,
      genesis: {
        subnets: [{ netuid, ownerHotkey: alice.address }],
        neurons: [
          { netuid, hotkey: validator.address, stake: 50n * tao },
          { netuid, hotkey: miner.address },
        ],
      },
    });
    api = await ApiPromise.create({ provider: new WsProvider(net.endpoint) as never, noInitWarn: true });
  });

  after(async () => {
    await api.disconnect();
    await net.stop();
  });

  const query = (pallet: string, item: string) => {
    const entry = api.query[pallet]?.[item];
    assert.ok(entry, `${pallet}.${item}`);
    return entry;
  };
  const callOf = (pallet: string, name: string, ...args: unknown[]): SubmittableExtrinsic<"promise"> => {
    const call = api.tx[pallet]?.[name];
    assert.ok(call, `${pallet}.${name}`);
    return call(...args);
  };

  /** Sends, and gives the result at every status. Finality waits until the block was heard of: on a busy machine the library takes the one for the other. */
  async function send(call: SubmittableExtrinsic<"promise">, pair: KeyringPair): Promise<SubmittableResult[]> {
    const results: SubmittableResult[] = [];
    net.inject({ kind: "stall-finality", blocks: 1000 });
    await new Promise<void>((resolve, reject) => {
      call
        .signAndSend(pair, { nonce: -1 }, (result) => {
          results.push(result as unknown as SubmittableResult);
          if (result.isInBlock) net.inject({ kind: "heal" });
          if (result.isFinalized || result.isError) {
            resolve();
          }
        })
        .catch(reject);
    }).finally(() => net.inject({ kind: "heal" }));
    return results;
  }

  const commitment = (text: string) =>
    callOf("commitments", "setCommitment", netuid, { fields: [{ [`Raw${text.length}`]: `0x${Buffer.from(text).toString("hex")}` }] });

  it("takes it for Subtensor", () => {
    assert.equal(api.runtimeVersion.specName.toString(), "node-subtensor");
    assert.equal(api.genesisHash.toHex(), net.genesisHash);
    assert.equal(api.registry.chainSS58, 42);
    assert.deepEqual(api.registry.chainDecimals, [9]);
    assert.deepEqual(api.registry.chainTokens, ["TAO"]);
    assert.equal(api.consts["commitments"]?.["maxFields"]?.toString(), "3");
  });

  it("sends a commitment and hears of it ready, in a block, finalised; with its events", async () => {
    const results = await send(commitment("hello"), miner);
    assert.deepEqual(
      results.map(({ status }) => status.type),
      ["Ready", "InBlock", "Finalized"],
    );
    const last = results.at(-1) as SubmittableResult;
    const names = last.events.map(({ event }) => `${event.section}.${event.method}`);
    assert.deepEqual(names, ["commitments.Commitment", "system.ExtrinsicSuccess"]);
    assert.equal(last.findRecord("commitments", "Commitment")?.event.data[1]?.toString(), miner.address);
    const block = await api.rpc.chain.getBlock(last.status.asFinalized);
    assert.equal(block.block.extrinsics[last.txIndex ?? 0]?.hash.toHex(), last.txHash.toHex());
  });

  it("reads storage at the head, at a block hash, by map, and hears of changes", async () => {
    const entry = query("commitments", "commitmentOf");
    const changes: string[] = [];
    const unsubscribe = await entry(netuid, validator.address, (value: Codec) => void changes.push(JSON.stringify(value)));
    const results = await send(commitment("second"), validator);
    const hash = (results.at(-1) as SubmittableResult).status.asFinalized;
    const header = await api.rpc.chain.getHeader(hash);
    const at = await api.at(hash);
    const before = await api.at(header.parentHash);
    const read = async (where: { query: ApiPromise["query"] }) =>
      (await where.query["commitments"]?.["commitmentOf"]?.(netuid, validator.address))?.toJSON();
    assert.deepEqual(await read(at as never), {
      deposit: 0,
      block: header.number.toNumber(),
      info: { fields: [{ raw6: "0x7365636f6e64" }] },
    });
    assert.equal(await read(before as never), null);
    assert.deepEqual(await read(api), await read(at as never));
    const all = await entry.entries(netuid);
    assert.deepEqual(all.map(([key]) => key.args[1]?.toString()).sort(), [miner.address, validator.address].sort());
    (unsubscribe as unknown as () => void)();
    assert.equal(changes.length, 2);
    assert.equal(changes[0], "null");
    assert.match(changes[1] as string, /raw6/);
  });

  it("reads neurons, stake, the metagraph and hyperparameters through the runtime's APIs", async () => {
    const ask = async (name: string, method: string, ...args: unknown[]) => (await api.call[name]?.[method]?.(...args))?.toJSON() as never;
    const neurons: { hotkey: string; uid: number; stake: [string, number][]; validatorPermit: boolean }[] = await ask(
      "neuronInfoRuntimeApi",
      "getNeuronsLite",
      netuid,
    );
    assert.deepEqual(
      neurons.map(({ hotkey, uid, stake, validatorPermit }) => [hotkey, uid, stake[0]?.[1], validatorPermit]),
      [
        [validator.address, 0, Number(50n * tao), true],
        [miner.address, 1, 0, false],
      ],
    );
    const full: { uid: number; weights: unknown[] } = await ask("neuronInfoRuntimeApi", "getNeuron", netuid, 1);
    assert.deepEqual([full.uid, full.weights], [1, []]);
    const metagraph: { hotkeys: string[]; numUids: number; alphaStake: number[] } = await ask(
      "subnetInfoRuntimeApi",
      "getMetagraph",
      netuid,
    );
    assert.deepEqual(
      [metagraph.numUids, metagraph.hotkeys, metagraph.alphaStake],
      [2, [validator.address, miner.address], [Number(50n * tao), 0]],
    );
    const { tempo }: { tempo: number } = await ask("subnetInfoRuntimeApi", "getSubnetHyperparamsV2", netuid);
    assert.equal(tempo, 20);
    assert.equal(await ask("subnetInfoRuntimeApi", "getMetagraph", 99), null);
    const stakes: { hotkey: string; stake: number }[] = await ask("stakeInfoRuntimeApi", "getStakeInfoForColdkey", alice.address);
    assert.deepEqual(
      stakes.map(({ hotkey, stake }) => [hotkey, stake]),
      [[validator.address, Number(50n * tao)]],
    );
  });

  it("decodes a refusal by the chain's own metadata", async () => {
    const results = await send(callOf("subtensorModule", "setWeights", netuid, [0], [1], 0), miner);
    const { dispatchError } = results.at(-1) as SubmittableResult;
    assert.ok(dispatchError?.isModule);
    const { section, name } = api.registry.findMetaError(dispatchError.asModule);
    assert.equal(`${section}.${name}`, "subtensorModule.NeuronNoValidatorPermit");
  });

  it("counts what waits when it is asked for the next nonce", async () => {
    const next = async () => (await api.rpc.system.accountNextIndex(alice.address)).toNumber();
    for (const nonce of [0, 1]) {
      assert.equal(await next(), nonce);
      await callOf("system", "remarkWithEvent", "0x01").signAndSend(alice, { nonce });
    }
    assert.equal(await next(), 2);
  });

  it("follows best and finalised heads, finality two blocks behind", async () => {
    const heads: { kind: string; header: Header }[] = [];
    const stop = await Promise.all([
      api.rpc.chain.subscribeNewHeads((header) => void heads.push({ kind: "best", header })),
      api.rpc.chain.subscribeFinalizedHeads((header) => void heads.push({ kind: "finalized", header })),
    ]);
    while (heads.length < 12) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const unsubscribe of stop) {
      unsubscribe();
    }
    for (const kind of ["best", "finalized"]) {
      const numbers = heads.filter((head) => head.kind === kind).map(({ header }) => header.number.toNumber());
      assert.deepEqual(
        numbers,
        numbers.map((_, index) => (numbers[0] as number) + index),
      );
    }
    const best = Math.max(...heads.filter(({ kind }) => kind === "best").map(({ header }) => header.number.toNumber()));
    const finalized = Math.max(...heads.filter(({ kind }) => kind === "finalized").map(({ header }) => header.number.toNumber()));
    assert.ok(best - finalized >= 2 && best - finalized <= 3, `${best} ${finalized}`);
  });

  it("asks what a call costs before it sends it", async () => {
    const transfer = callOf("balances", "transferKeepAlive", miner.address, 5n);
    const { partialFee } = await transfer.paymentInfo(alice);
    assert.ok(partialFee.toBigInt() > 0n);
    assert.equal((await commitment("free").paymentInfo(miner)).partialFee.toBigInt(), 0n);
  });

  it("is refused with the pool's own codes", async () => {
    const stranger = callOf("subtensorModule", "serveAxon", netuid, 1, 0x7f000001, 8091, 4, 4, 0, 0);
    await assert.rejects(stranger.signAndSend(miner, { nonce: -1 }), { code: 1010, data: "Custom error: 11" });
    const four = callOf("commitments", "setCommitment", netuid, { fields: [1, 2, 3, 4].map(() => ({ Raw1: "0x01" })) });
    await assert.rejects(four.signAndSend(miner, { nonce: -1 }), { code: 1011 });
  });
});
