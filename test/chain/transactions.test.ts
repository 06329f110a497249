import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Chain, Signer } from "../../src/chain/client.ts";
import type { Localnet } from "../../src/chain/localnet/index.ts";
import { eraPeriod } from "../../src/chain/signing.ts";
import { createOpened, finalizedWhere, genesisOf, type LossyProxy, netuid, type People, people } from "./support.ts";

const record = (fill: number): Uint8Array => new Uint8Array(39).fill(fill);

describe("chain/transactions", () => {
  const opened = createOpened();
  let net: Localnet;
  let chain: Chain;
  let who: People;

  before(async () => {
    who = await people();
    net = await opened.localnet({ genesis: genesisOf(await people(), { weightsRateLimit: 5 }) });
    chain = await opened.chain(net.endpoint);
  });
  after(() => opened.close());

  /** Transactions of an account that are in blocks or in the pool. */
  async function sentBy({ address }: Signer, { port }: Localnet = net): Promise<number> {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "system_accountNextIndex", params: [address] });
    const answer = await fetch(`http://127.0.0.1:${port}`, { method: "POST", headers: { "content-type": "application/json" }, body });
    return ((await answer.json()) as { result: number }).result;
  }

  async function standing({ address }: Signer, of = chain): Promise<Uint8Array | undefined> {
    const { hash } = await of.finalizedHead();
    return (await of.commitments(netuid, hash)).find(({ hotkey }) => hotkey === address)?.fields[0];
  }

  describe("over a connection that breaks", () => {
    const submission = "author_submitAndWatchExtrinsic";
    const faults: [string, (proxy: LossyProxy) => void][] = [
      [
        "before the node has it",
        (proxy) => {
          let times = 0;
          proxy.onRequest = ({ method }) => {
            if (method !== submission || ++times > 2) return true;
            proxy.cut();
            return false;
          };
        },
      ],
      [
        "after the node has it, before it answers",
        (proxy) => {
          let times = 0;
          proxy.onAnswer = (method) => {
            if (method !== submission || ++times > 1) return true;
            proxy.cut();
            return false;
          };
        },
      ],
      [
        "after it answered",
        (proxy) => {
          let times = 0;
          proxy.onAnswer = (method) => {
            if (method === submission && ++times === 1) setTimeout(proxy.cut, 20);
            return true;
          };
        },
      ],
      [
        "while the outcome is read",
        (proxy) => {
          let times = 0;
          proxy.onRequest = ({ method }) => {
            if (method !== "chain_getBlock" || ++times > 3) return true;
            proxy.cut();
            return false;
          };
        },
      ],
    ];
    for (const [index, [when, arrange]] of faults.entries()) {
      it(`${when}, a record is written once`, async () => {
        const [miner] = who.miners;
        const proxy = await opened.proxy(net.endpoint);
        const shaky = await opened.chain(proxy.endpoint);
        const before = await sentBy(miner);
        arrange(proxy);
        const { block, hash } = await shaky.setCommitment(miner, netuid, record(10 + index));
        assert.equal(await chain.blockHash(block), hash);
        assert.deepEqual(await standing(miner), record(10 + index));
        assert.equal(await sentBy(miner), before + 1);
        const submissions = proxy.asked.filter(({ method }) => method === submission).map(({ params }) => params?.[0]);
        assert.equal(new Set(submissions).size, 1, "what was sent again was not the same transaction");
      });
    }
  });

  it("finds what an earlier run left in the pool, and does not send it again", async () => {
    const [, miner] = who.miners;
    const slow = await opened.localnet({ blockTime: 1000, finalityLag: 1 });
    const proxy = await opened.proxy(slow.endpoint);
    const first = await opened.chain(proxy.endpoint, { patience: 500 });
    const handedOver = new Promise<void>((resolve) => {
      proxy.onAnswer = (method) => {
        if (method === "author_submitAndWatchExtrinsic") resolve();
        return true;
      };
    });
    const abandoned = first.setCommitment(miner, netuid, record(30));
    abandoned.catch(() => {});
    await handedOver;
    first.disconnect();
    const second = await opened.chain(slow.endpoint);
    const [same, another] = await Promise.all([
      second.setCommitment(miner, netuid, record(30)),
      second.setCommitment(miner, netuid, record(31)),
    ]);
    assert.notEqual(`${same.block} ${same.extrinsicIndex}`, `${another.block} ${another.extrinsicIndex}`);
    assert.deepEqual((await second.commitments(netuid, another.hash))[0]?.fields, [record(31)]);
    assert.equal(await sentBy(miner, slow), 2);
    await slow.stop();
  });

  it("lets two processes with one hotkey end, each with its own", async () => {
    const [miner] = who.miners;
    const other = await opened.chain(net.endpoint);
    const before = await sentBy(miner);
    const results = await Promise.all([
      ...[40, 41, 42].map((fill) => chain.setCommitment(miner, netuid, record(fill))),
      ...[50, 51, 52].map((fill) => other.setCommitment(miner, netuid, record(fill))),
    ]);
    assert.equal(new Set(results.map(({ block, extrinsicIndex }) => `${block}/${extrinsicIndex}`)).size, 6);
    assert.equal(await sentBy(miner), before + 6);
  });

  it("tells of another process that took the nonce which the pool gave", async () => {
    const [, miner] = who.miners;
    const proxy = await opened.proxy(net.endpoint);
    const notices: string[] = [];
    const late = await opened.chain(proxy.endpoint, { notice: (message) => notices.push(message) });
    const nonce = await sentBy(miner);
    net.inject({ kind: "hold", count: 1, blocks: 5 });
    const other = chain.setCommitment(miner, netuid, record(58));
    while ((await sentBy(miner)) === nonce) await new Promise((resolve) => setTimeout(resolve, 5));
    let asked = 0;
    proxy.answerFor = ({ method }) => (method === "system_accountNextIndex" && ++asked === 1 ? { result: nonce } : undefined);
    await Promise.all([other, late.setCommitment(miner, netuid, record(59))]);
    assert.deepEqual(notices, [`Another process sends with the hotkey ${miner.address}: it took nonce ${nonce}.`]);
    assert.equal(await sentBy(miner), nonce + 2);
  });

  it("gives up on a chain that makes no block, and finds what it sent when the chain goes on", async () => {
    const [miner] = who.miners;
    const impatient = await opened.chain(net.endpoint, { stallLimit: 200 });
    const before = await sentBy(miner);
    net.inject({ kind: "stall-blocks", seconds: 600 });
    await assert.rejects(impatient.setCommitment(miner, netuid, record(56)), {
      code: "chain-stalled",
      retryable: true,
      message: /no new block for 0.2 s while the record was/,
    });
    assert.equal(await sentBy(miner), before + 1);
    const again = chain.setCommitment(miner, netuid, record(56));
    net.inject({ kind: "heal" });
    await again;
    assert.deepEqual(await standing(miner), record(56));
    assert.equal(await sentBy(miner), before + 1);
  });

  it("says that a transaction is lost which no block takes however often it is signed, and does it later", async () => {
    const [, miner] = who.miners;
    const before = await sentBy(miner);
    net.inject({ kind: "drop", count: 1_000_000 });
    let over = false;
    const lost = assert
      .rejects(chain.setCommitment(miner, netuid, record(57)), {
        code: "extrinsic-lost",
        retryable: true,
        message: /was signed 8 times and is in no block: its era ended/,
      })
      .finally(() => {
        over = true;
      });
    while (!over) {
      net.inject({ kind: "burst", blocks: 16 });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await lost;
    net.inject({ kind: "heal" });
    await chain.setCommitment(miner, netuid, record(57));
    assert.deepEqual(await standing(miner), record(57));
    assert.equal(await sentBy(miner), before + 1);
  });

  it("stops when told to", async () => {
    const stop = new AbortController();
    const sending = chain.setCommitment(who.miners[0], netuid, record(60), { signal: stop.signal });
    setTimeout(() => stop.abort(new Error("enough")), 30);
    await assert.rejects(sending, /enough/);
  });

  describe("what the pool refuses", () => {
    it("names the runtime's own codes", async () => {
      const reveal = chain.send({
        what: "the reveal",
        signer: who.validator,
        call: { pallet: "SubtensorModule", name: "reveal_weights", args: { netuid, uids: [1], values: [1], salt: [1], version_key: 0n } },
      });
      await assert.rejects(reveal, { code: "extrinsic-rejected", reason: "pool.CommitNotFound", message: /the reveal was refused/ });
    });

    it("says when an account cannot pay", async () => {
      const transfer = chain.send({
        what: "the transfer",
        signer: who.stranger,
        call: { pallet: "Balances", name: "transfer_keep_alive", args: { dest: { type: "Id", value: who.owner.address }, value: 1n } },
      });
      await assert.rejects(transfer, { code: "extrinsic-rejected" });
    });
  });

  it("says what a chain without a pallet lacks", async () => {
    const call = chain.send({ what: "it", signer: who.owner, call: { pallet: "Nowhere", name: "nothing", args: {} } });
    await assert.rejects(call, { code: "chain-unsupported", message: /Nowhere\.nothing/ });
  });

  describe("a chain that goes away", () => {
    let stateDirectory: string;
    before(async () => {
      stateDirectory = await mkdtemp(join(tmpdir(), "connito-chain-"));
    });
    after(() => rm(stateDirectory, { recursive: true, force: true }));

    it("is waited for: followers, reads and transactions go on when it is back", async () => {
      const [miner] = who.miners;
      const first = await opened.localnet({ stateDirectory });
      const client = await opened.chain(first.endpoint);
      await client.setCommitment(miner, netuid, record(70));
      const stop = new AbortController();
      const seen: number[] = [];
      const following = (async () => {
        for await (const { number } of client.followFinalized(stop.signal)) seen.push(number);
      })();
      await finalizedWhere(client, (number) => number > 5);

      await first.stop();
      const last = seen.at(-1) as number;
      const sending = client.setCommitment(miner, netuid, record(71));
      const reading = client.finalizedHead();
      await new Promise((resolve) => setTimeout(resolve, 300));
      const second = await opened.localnet({ stateDirectory, port: first.port });
      assert.equal(second.genesisHash, first.genesisHash);

      assert.equal((await sending).already, false);
      assert.ok((await reading).number >= 5);
      const { number, hash } = await finalizedWhere(client, (later) => later > last + 3);
      assert.deepEqual((await client.commitments(netuid, hash))[0]?.fields, [record(71)]);
      stop.abort();
      await following;
      assert.ok(
        seen.every((value, index) => index === 0 || value > (seen[index - 1] as number)),
        "a head was told twice, or went back",
      );
      assert.ok((seen.at(-1) as number) >= number - 1);
    });

    it("is reported after patience, as something to try again", async () => {
      const gone = await opened.localnet();
      const client = await opened.chain(gone.endpoint, { patience: 400 });
      await gone.stop();
      await assert.rejects(client.finalizedHead(), { code: "chain-unreachable", retryable: true, exit: 30 });
    });

    it("is not mistaken for another that comes in its place", async () => {
      const one = await opened.localnet();
      const client = await opened.chain(one.endpoint, { patience: 1500 });
      await one.stop();
      const other = await opened.localnet({ port: one.port, genesis: genesisOf(who, { tempo: 99 }) });
      assert.notEqual(other.genesisHash, one.genesisHash);
      await assert.rejects(client.finalizedHead(), { code: "chain-changed", exit: 30 });
    });
  });

  it("gives a transaction an era that covers what it needs and that the chain knows", () => {
    assert.deepEqual([1, 4, 5, 48, 64, 65, 4096, 9999].map(eraPeriod), [4, 4, 8, 64, 64, 128, 4096, 4096]);
  });
});
