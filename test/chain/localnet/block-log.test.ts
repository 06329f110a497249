/** The chain on disk: what a restart finds after a stop, a tear, damage, or another genesis. */

import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openBlockLog } from "../../../src/chain/localnet/block-log.ts";
import type { Genesis } from "../../../src/chain/localnet/genesis.ts";
import { commitmentsStorage } from "../../../src/chain/localnet/runtime/commitments.ts";
import { type Bench, createBench, netuid, subnetOf } from "./support.ts";

describe("the block log", () => {
  let directory: string;
  let genesis: Genesis;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "connito-localnet-"));
    ({ genesis } = await subnetOf());
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const path = () => join(directory, "blocks.log");
  async function open(given: Genesis = genesis): Promise<{ bench: Bench; close: () => void }> {
    const log = openBlockLog(directory);
    try {
      return { bench: await createBench(given, { log }), close: () => log.close() };
    } catch (error) {
      log.close();
      throw error;
    }
  }

  /** A chain of five blocks, the third with a commitment, left as a stop leaves it. */
  async function written(): Promise<string[]> {
    const { miner } = await subnetOf();
    const { bench, close } = await open();
    bench.produce(2);
    assert.equal(bench.send(miner, "commitments.setCommitment", netuid, { fields: [{ Raw1: "0x2a" }] }), "ok");
    bench.produce(2);
    close();
    return Array.from({ length: 6 }, (_, number) => bench.chain.blockAt(number)?.hash as string);
  }

  const hashesOf = (bench: Bench) =>
    Array.from({ length: bench.chain.best().header.number + 1 }, (_, number) => bench.chain.blockAt(number)?.hash as string);

  it("gives back every block and its state, and goes on from there", async () => {
    const hashes = await written();
    const { miner } = await subnetOf();
    const { bench, close } = await open();
    assert.deepEqual(hashesOf(bench), hashes);
    const read = (number: number) =>
      bench.chain.ledgerAt(bench.chain.blockAt(number) as never).get(commitmentsStorage.CommitmentOf, netuid, bench.account(miner))?.block;
    assert.deepEqual([2, 3, 5].map(read), [undefined, 3, 3]);
    assert.equal(bench.send(miner, "commitments.setCommitment", netuid, { fields: [{ Raw1: "0x2b" }] }), "ok");
    assert.equal(read(6), 6);
    close();
  });

  it("cuts off whatever was torn at the end, wherever the tear is", async () => {
    const hashes = await written();
    const whole = readFileSync(path());
    const lastLine = whole.lastIndexOf(10, whole.length - 2) + 1;
    for (const length of [lastLine + 1, lastLine + 20, whole.length - 1]) {
      writeFileSync(path(), whole);
      truncateSync(path(), length);
      const { bench, close } = await open();
      assert.deepEqual(hashesOf(bench), hashes.slice(0, 5));
      bench.produce();
      close();
      const again = await open();
      assert.equal(again.bench.chain.best().hash, bench.chain.best().hash);
      again.close();
    }
  });

  it("cuts off a last line of noise, as a power cut leaves it", async () => {
    const hashes = await written();
    appendFileSync(path(), `${"\0".repeat(50)}\n`);
    const { bench, close } = await open();
    assert.deepEqual(hashesOf(bench), hashes);
    close();
  });

  it("begins anew when not even the first line was written", async () => {
    writeFileSync(path(), "0123");
    const { bench, close } = await open();
    bench.produce();
    close();
    const again = await open();
    assert.equal(again.bench.chain.best().header.number, 1);
    again.close();
  });

  it("refuses damage in the middle", async () => {
    await written();
    const whole = readFileSync(path(), "utf8").split("\n");
    whole[2] = (whole[2] as string).replace('"number":2', '"number":3');
    writeFileSync(path(), whole.join("\n"));
    await assert.rejects(open(), { code: "localnet-log-corrupt" });
  });

  it("refuses a line that is whole but left out", async () => {
    await written();
    const whole = readFileSync(path(), "utf8").split("\n");
    whole.splice(3, 1);
    writeFileSync(path(), whole.join("\n"));
    await assert.rejects(open(), { code: "localnet-log-corrupt" });
  });

  it("refuses another genesis, and a second writer", async () => {
    await written();
    await assert.rejects(open({}), { code: "genesis-mismatch" });
    const one = await open();
    const other = await open();
    one.bench.produce();
    assert.throws(() => other.bench.produce(), { code: "state-locked" });
    one.close();
    other.close();
  });

  it("says when the directory cannot be used", () => {
    const file = join(directory, "file");
    writeFileSync(file, "");
    assert.throws(() => openBlockLog(join(file, "below")), { code: "state-directory-unusable" });
  });
});
