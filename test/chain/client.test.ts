import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import type { Chain } from "../../src/chain/client.ts";
import { addStake, faucet, registerNeuron, setHyperparameter, sudo } from "../../src/chain/development.ts";
import type { Localnet } from "../../src/chain/localnet/index.ts";
import { developmentSigner, type Signer } from "../../src/chain/signer.ts";
import { createOpened, finalizedWhere, netuid, type People, people } from "./support.ts";

/** Asks a node directly. */
async function rpc(endpoint: string, method: string): Promise<Record<string, unknown>> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: [] });
  const headers = { "content-type": "application/json" };
  const response = await fetch(endpoint.replace("ws:", "http:"), { method: "POST", headers, body });
  return ((await response.json()) as { result: Record<string, unknown> }).result;
}

describe("chain/client", () => {
  const opened = createOpened();
  let net: Localnet;
  let chain: Chain;
  let who: People;

  before(async () => {
    who = await people();
    net = await opened.localnet();
    chain = await opened.chain(net.endpoint);
  });
  after(() => opened.close());

  it("knows its chain, its heads and its blocks", async () => {
    assert.equal(chain.genesisHash, net.genesisHash);
    assert.equal(await chain.blockHash(0), net.genesisHash);
    assert.equal(chain.endpoint(), net.endpoint);
    const finalized = await finalizedWhere(chain, (number) => number > 0);
    const best = await chain.bestHead();
    assert.equal(await chain.blockHash(finalized.number), finalized.hash);
    assert.ok(best.number > finalized.number);
    await assert.rejects(chain.blockHash(1_000_000), { code: "block-unknown", retryable: true });
  });

  it("follows finalised heads upwards, newest only, until told to stop", async () => {
    const stop = new AbortController();
    const seen: number[] = [];
    for await (const { number, hash } of chain.followFinalized(stop.signal)) {
      assert.equal(await chain.blockHash(number), hash);
      seen.push(number);
      if (seen.length === 2) await finalizedWhere(chain, (later) => later >= number + 4); // busy meanwhile
      if (seen.length === 4) stop.abort();
    }
    assert.equal(seen.length, 4);
    assert.ok(seen.every((number, index) => index === 0 || number > (seen[index - 1] as number)));
    assert.ok((seen[2] as number) >= (seen[1] as number) + 4, "a follower that was busy is given the newest, not what it missed");
  });

  it("follows both heads, the best before the finalised", async () => {
    const stop = new AbortController();
    let count = 0;
    for await (const { best, finalized } of chain.followHeads(stop.signal)) {
      assert.ok(best >= finalized.number);
      count += 1;
      if (count === 5) stop.abort();
    }
    assert.equal(count, 5);
  });

  it("reads neurons, owner and hyperparameters", async () => {
    const { hash } = await chain.finalizedHead();
    const fresh = { coldkey: who.owner.address, stake: 0n, validatorPermit: false, registeredAt: 0, lastUpdate: 0 };
    assert.deepEqual(await chain.neurons(netuid, hash), [
      { ...fresh, hotkey: who.validator.address, uid: 0, stake: 1_000_000_000_000n, validatorPermit: true },
      { ...fresh, hotkey: who.miners[0].address, uid: 1 },
      { ...fresh, hotkey: who.miners[1].address, uid: 2 },
    ]);
    assert.equal(await chain.subnetOwnerHotkey(netuid, hash), who.owner.address);
    assert.deepEqual(await chain.hyperparameters(netuid, hash), {
      tempo: 20,
      weightsRateLimit: 5,
      minimumAllowedWeights: 1,
      maximumWeight: 65_535,
      weightsVersionKey: 0n,
      commitRevealEnabled: false,
      revealPeriodEpochs: 1,
    });
  });

  it("reads where a neuron says that it can be reached, by either kind of address", async () => {
    const reachable = async (signer: Signer, ip: bigint, ip_type: number) => {
      const args = { netuid, version: 1, ip, port: 8091, ip_type, protocol: 4, placeholder1: 0, placeholder2: 0 };
      const { hash } = await chain.send({ what: "the axon", signer, call: { pallet: "SubtensorModule", name: "serve_axon", args } });
      return (await chain.neurons(netuid, hash)).find(({ hotkey }) => hotkey === signer.address)?.axon;
    };
    const [first, second] = who.miners;
    assert.deepEqual(await reachable(first, 0xc6336407n, 4), { address: "198.51.100.7", port: 8091 });
    const six = 0x20010db8000000000000000000000007n;
    assert.deepEqual(await reachable(second, six, 6), { address: "2001:db8:0:0:0:0:0:7", port: 8091 });
  });

  it("reads a subnet of 256 neurons in one round trip, once a block", async () => {
    const accounts = await Promise.all(Array.from({ length: 256 }, (_, index) => developmentSigner(`//Crowd//${index}`)));
    const crowd = await opened.localnet({
      genesis: {
        subnets: [{ netuid, ownerHotkey: who.owner.address }],
        neurons: accounts.map(({ address }) => ({ netuid, hotkey: address })),
      },
    });
    const proxy = await opened.proxy(crowd.endpoint);
    const client = await opened.chain(proxy.endpoint);
    const { hash } = await client.finalizedHead();
    await client.balance(who.owner.address, hash); // the block is known
    const before = proxy.asked.length;
    const neurons = await client.neurons(netuid, hash);
    assert.deepEqual(
      neurons.map(({ hotkey }) => hotkey),
      accounts.map(({ address }) => address),
    );
    await Promise.all([client.neurons(netuid, hash), client.subnetOwnerHotkey(netuid, hash), client.hyperparameters(netuid, hash)]);
    assert.deepEqual(
      proxy.asked.slice(before).map(({ method, params }) => [method, params?.[0]]),
      [["state_call", "SubnetInfoRuntimeApi_get_metagraph"]],
    );
  });

  it("notices a runtime upgrade: blocks before it are read by the old runtime, transactions are signed for the new one", async () => {
    const proxy = await opened.proxy(net.endpoint);
    const client = await opened.chain(proxy.endpoint);
    const { hash } = await client.finalizedHead();
    const metadataAsked = () => proxy.asked.filter(({ params }) => params?.[0] === "Metadata_metadata_at_version").length;
    // once for each version that is tried until the node has it
    const once = metadataAsked();
    const upgraded = { ...(await rpc(net.endpoint, "state_getRuntimeVersion")), specVersion: 9_999 };
    // the node says that from now on a newer runtime is in force; what the old blocks hold is as it was
    proxy.answerFor = ({ method, params }) =>
      method === "state_getRuntimeVersion" && params?.length === 0 ? { result: upgraded } : undefined;
    assert.equal((await client.neurons(netuid, hash)).length > 0, true);
    assert.equal(metadataAsked(), once);
    // signed for the new runtime, which the node behind the proxy does not have
    await assert.rejects(client.setCommitment(who.miners[0], netuid, Uint8Array.of(3, 2, 1)), {
      code: "extrinsic-rejected",
      message: /bad signature/i,
    });
    assert.equal(metadataAsked(), 2 * once);
  });

  it("says that there is no such subnet instead of giving its defaults", async () => {
    const { hash } = await chain.finalizedHead();
    for (const read of [chain.neurons(7, hash), chain.subnetOwnerHotkey(7, hash), chain.hyperparameters(7, hash)]) {
      await assert.rejects(read, { code: "subnet-not-found" });
    }
    assert.deepEqual(await chain.commitments(7, hash), []);
  });

  it("never reads another block than the one named", async () => {
    await assert.rejects(chain.neurons(netuid, `0x${"00".repeat(32)}`), { code: "block-unknown" });
  });

  it("sees a registration, stake and sudo at the blocks that have them, and not before", async () => {
    const before = await chain.finalizedHead();
    await faucet(chain, who.stranger.address, 5_000_000_000n);
    await registerNeuron(chain, netuid, who.stranger.address);
    await registerNeuron(chain, netuid, who.stranger.address); // already is success
    const staked = await addStake(chain, netuid, who.stranger.address, 7_000_000_000n);
    const changed = await setHyperparameter(chain, netuid, "tempo", 10);
    const neuron = (await chain.neurons(netuid, staked.hash)).find(({ hotkey }) => hotkey === who.stranger.address);
    assert.equal(neuron?.uid, 3);
    assert.equal(neuron.stake, 7_000_000_000n);
    assert.ok(neuron.registeredAt > before.number && neuron.registeredAt < staked.block);
    assert.equal((await chain.neurons(netuid, before.hash)).length, 3);
    assert.equal((await chain.hyperparameters(netuid, changed.hash)).tempo, 10);
    assert.equal((await chain.hyperparameters(netuid, staked.hash)).tempo, 20);
    assert.equal(await chain.balance(who.stranger.address, before.hash), 0n);
    assert.equal(await chain.balance(who.stranger.address, staked.hash), 5_000_000_000n);
  });

  it("decodes what the runtime says about a failed call, also inside sudo", async () => {
    const address = who.miners[0].address;
    const register = chain.send({
      what: "the registration",
      signer: who.owner,
      call: { pallet: "SubtensorModule", name: "burned_register", args: { netuid, hotkey: address } },
    });
    await assert.rejects(register, {
      code: "extrinsic-rejected",
      exit: 31,
      reason: "SubtensorModule.HotKeyAlreadyRegisteredInSubNet",
      message: /the registration failed in block \d+: SubtensorModule\.HotKeyAlreadyRegisteredInSubNet/,
    });
    await assert.rejects(setHyperparameter(chain, 7, "tempo", 10), { code: "extrinsic-rejected", reason: /^AdminUtils\./ });
    const byAnother = sudo(chain, () => ({ pallet: "AdminUtils", name: "sudo_set_tempo", args: { netuid, tempo: 10 } }), who.validator);
    await assert.rejects(byAnother, { code: "extrinsic-rejected", reason: "Sudo.RequireSudo" });
  });

  describe("endpoints", () => {
    it("takes the next when one does not answer", async () => {
      const other = await opened.chain(["ws://127.0.0.1:1", net.endpoint]);
      assert.equal(other.endpoint(), net.endpoint);
    });

    it("gives up in time when none does, with a hint", async () => {
      await assert.rejects(opened.chain("ws://127.0.0.1:1", { timeout: 500, patience: 300 }), {
        code: "chain-unreachable",
        exit: 30,
        retryable: true,
      });
    });

    it("gives up on a host that accepts and says nothing", async () => {
      const silent = createServer(() => {}).listen(0, "127.0.0.1");
      await once(silent, "listening");
      const { port } = silent.address() as { port: number };
      await assert.rejects(opened.chain(`ws://127.0.0.1:${port}`, { timeout: 400 }), { code: "chain-unreachable" });
      silent.close();
    });

    it("ends what follows and asks when it is disconnected", async () => {
      const other = await opened.chain(net.endpoint);
      const heads = other.followHeads(new AbortController().signal)[Symbol.asyncIterator]();
      await heads.next();
      other.disconnect();
      await assert.rejects(other.bestHead(), { code: "chain-disconnected" });
      await assert.rejects(other.setCommitment(who.miners[0], netuid, Uint8Array.of(1)), { code: "chain-disconnected" });
    });

    it("stops connecting when told to", async () => {
      const stop = new AbortController();
      const connecting = opened.chain("ws://127.0.0.1:1", { signal: stop.signal });
      stop.abort(new Error("enough"));
      await assert.rejects(connecting, /enough/);
    });
  });
});
