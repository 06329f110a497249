import assert from "node:assert/strict";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConnitoError } from "../../../src/errors.ts";
import type { Task } from "../../../src/protocol/task.ts";
import { type DoctorInput, diagnose, type Finding } from "../../../src/steps/doctor/doctor.ts";
import { checkDisk, checkGpu, checkMemory, checkNode } from "../../../src/steps/doctor/machine.ts";
import { checkClock } from "../../../src/steps/doctor/network.ts";
import { checkPublish, checkRecords } from "../../../src/steps/doctor/records.ts";
import { createOpened, genesisOf, netuid, type People, people } from "../../chain/support.ts";

/** What of a task is looked at here; its data have a test of their own. */
const phases = { distribute: 10, train: 15, commit: 4, reveal: 4, score: 6, merge: 6 };
const task = { name: "novel", cycle: { startBlock: 1, phases } } as unknown as Task;

describe("doctor", () => {
  const opened = createOpened();
  let endpoint: string;
  let who: People;

  before(async () => {
    who = await people();
    ({ endpoint } = await opened.localnet({ genesis: genesisOf(who) }));
    const chain = await opened.chain(endpoint);
    for await (const { best } of chain.followHeads(new AbortController().signal)) if (best > 0) break;
  });
  after(() => opened.close());

  async function examine(input: Partial<DoctorInput> = {}): Promise<{ byCheck: Map<string, Finding>; exit: number; told: number }> {
    let told = 0;
    const { findings, exit } = await diagnose({
      stateDirectory: join(tmpdir(), "connito-no-such-directory", "state"),
      network: endpoint,
      netuid,
      role: "miner",
      openHotkey: async () => who.miners[0],
      findTask: async () => ({ taskHash: "ab", task }),
      publish: "http://198.51.100.7:8101",
      onFinding: () => {
        told += 1;
      },
      signal: new AbortController().signal,
      ...input,
    });
    return { byCheck: new Map(findings.map((finding) => [finding.check, finding])), exit, told };
  }

  const statesOf = (byCheck: Map<string, Finding>, ...checks: string[]) => checks.map((check) => byCheck.get(check)?.state);

  it("finds nothing wrong where nothing is, and tells of each finding as it comes", async () => {
    const { byCheck, exit, told } = await examine();
    const checks = [
      "node",
      "engine",
      "hotkey",
      `endpoint ${endpoint}`,
      "clock",
      "registration",
      "permit",
      "balance",
      "space",
      "publish",
      "task",
      "records",
    ];
    assert.deepEqual(
      statesOf(byCheck, ...checks),
      checks.map(() => "ok"),
    );
    assert.deepEqual([exit, told], [0, byCheck.size]);
    assert.match(byCheck.get("registration")?.found ?? "", /uid 1 of subnet 1, one of 3/);
  });

  it("goes on after a failure, and ends with the first one's exit code", async () => {
    const missing = new ConnitoError("no file", { code: "wallet-not-found", exit: "key", hint: "Make one." });
    const { byCheck, exit } = await examine({
      openHotkey: () => Promise.reject(missing),
      network: `ws://127.0.0.1:1,${endpoint}`,
      patience: 3000,
    });
    assert.deepEqual([byCheck.get("hotkey")?.found, byCheck.get("hotkey")?.advice, exit], ["no file", "Make one.", 12]);
    assert.deepEqual(statesOf(byCheck, "endpoint ws://127.0.0.1:1", `endpoint ${endpoint}`, "registration"), ["warning", "ok", "unknown"]);
  });

  it("says how a hotkey falls short of its role", async () => {
    const validator = await examine({ role: "validator" });
    assert.deepEqual([validator.byCheck.get("permit")?.state, validator.exit], ["failed", 31]);
    const stranger = await examine({ openHotkey: async () => who.stranger });
    assert.match(stranger.byCheck.get("registration")?.advice ?? "", /btcli subnets register --netuid 1/);
    const owner = await examine({ role: "owner" });
    assert.equal(owner.byCheck.get("registration")?.state, "failed");
    const nowhere = await examine({ netuid: 9 });
    assert.deepEqual([nowhere.byCheck.get("subnet")?.state, nowhere.exit], ["failed", 13]);
  });

  it("names a network that is none, endpoints that are away, and a task that is not there", async () => {
    assert.equal((await examine({ network: "nowhere" })).exit, 2);
    const { byCheck, exit } = await examine({ network: "ws://127.0.0.1:1", patience: 200 });
    assert.deepEqual([statesOf(byCheck, "clock", "registration", "task"), exit], [["unknown", "unknown", "unknown"], 30]);
    const tasks = await Promise.all([examine({ findTask: async () => ({}) }), examine({ findTask: async () => ({ taskHash: "ab" }) })]);
    for (const task of tasks) assert.deepEqual([statesOf(task.byCheck, "task"), task.exit], [["warning"], 0]);
  });

  it("says early that a locator is missing, fits no record, or makes records too large for an epoch", async () => {
    const nowhere = await examine({ publish: undefined });
    assert.deepEqual([nowhere.byCheck.get("publish")?.state, nowhere.exit], ["warning", 0]);
    const long = `file:/${"a".repeat(52)}`;
    assert.deepEqual([(await examine({ publish: long })).exit, checkPublish(long, "owner").state], [13, "ok"]);
    const records = (cycle: object, role: "miner" | "validator") =>
      opened
        .chain(endpoint)
        .then((chain) => checkRecords(chain, { cycle } as Task, { netuid, hotkey: who.validator.address, role, locator: long }));
    // an epoch of 21 blocks here, and 3,100 bytes in it: 3 records of 128 bytes in each cycle
    for (const [length, state] of [
      [3, "ok"],
      [2, "warning"],
    ] as const) {
      const cycle = { startBlock: 1, phases: { distribute: length, train: 0, commit: 0, reveal: 0, score: 0, merge: 0 } };
      assert.equal((await records(cycle, "validator"))[0]?.state, state);
      assert.equal((await records(cycle, "miner"))[0]?.state, "ok");
    }
  });

  it("sees a clock that is off, and a chain that stands still", async () => {
    const chain = await opened.chain(endpoint);
    for (const [offset, state] of [
      [0, "ok"],
      [-30_000, "warning"],
      [120_000, "warning"],
    ] as const) {
      assert.equal((await checkClock(chain, () => Date.now() + offset)).state, state);
    }
  });

  it("judges the machine", async () => {
    assert.deepEqual(
      ["18.20.0", "20.18.9", "20.19.0", "22.1.0"].map((version) => checkNode(version).state),
      ["failed", "failed", "ok", "ok"],
    );
    assert.deepEqual([checkMemory(2 ** 30, 1).state, checkMemory(2 ** 34, 8).state], ["warning", "ok"]);
    const disks = [2 ** 30, 10 * 2 ** 30, 100 * 2 ** 30].map((bytes) => checkDisk("/", async () => bytes));
    assert.deepEqual(
      (await Promise.all(disks)).map(({ state }) => state),
      ["failed", "warning", "ok"],
    );
    assert.deepEqual([(await checkGpu("no-such-tool")).state, (await checkGpu("false")).state], ["unknown", "warning"]);
  });

  it("does not wait for ever for a host that says nothing", async () => {
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    await new Promise((resolve) => silent.once("listening", resolve));
    const { port } = silent.address() as { port: number };
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("enough")), 200);
    await assert.rejects(examine({ network: `ws://127.0.0.1:${port}`, signal: stop.signal }), /enough/);
    silent.close();
  });
});
