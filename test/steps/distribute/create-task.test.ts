import assert from "node:assert/strict";
import { copyFileSync, existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { developmentSigner } from "../../../src/chain/signer.ts";
import { makeBase, type SimulatedBase, sequenceLength } from "../../../src/simulate/base.ts";
import { createWorld } from "../../../src/simulate/world.ts";
import { type CreateTaskInput, createTask } from "../../../src/steps/distribute/create-task.ts";
import { silentProgress } from "../../../src/ui/progress.ts";
import { openWorkspace, type Workspace } from "../../../src/workspace/workspace.ts";

const threads = 1;

describe("steps/distribute/create-task", () => {
  let directory: string;
  let base: SimulatedBase;
  let workspace: Workspace;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-task-"));
    base = await makeBase(join(directory, "base"), { threads, progress: silentProgress, signal: new AbortController().signal });
  });
  after(() => rm(directory, { recursive: true }));
  beforeEach(async () => {
    workspace = await openWorkspace(await mkdtemp(join(directory, "state-")), { lock: true });
  });
  afterEach(() => workspace.close());

  interface Run {
    /** Ends the run when it begins what is called so; otherwise it ends where the clock is read. */
    readonly stopAt?: string;
    readonly input?: Partial<CreateTaskInput>;
    readonly onClock?: (published: string) => void;
    /** Gets what is told in passing. */
    readonly said?: string[];
  }

  /** Runs the step until it is stopped, and says what it did, by the labels of its progress. */
  async function run({ stopAt, input, onClock, said }: Run): Promise<string[]> {
    const signer = await developmentSigner("//Owner");
    const published = await mkdtemp(join(directory, "published-"));
    const world = createWorld({ seed: "task", ownerHotkey: signer.address, neurons: [] });
    const controller = new AbortController();
    const labels: string[] = [];
    const start = (label: string) => {
      if (label === stopAt) controller.abort();
      labels.push(label);
    };
    const now = () => {
      onClock?.(published);
      controller.abort();
      throw controller.signal.reason;
    };
    const step = createTask(
      {
        workspace,
        chain: world.chain,
        clock: { ...world.clock, now },
        netuid: 1,
        signer,
        locator: `file:${published}`,
        peers: [],
        threads,
        progress: { ...silentProgress, start, note: (text) => void said?.push(text) },
        signal: controller.signal,
      },
      {
        name: "example",
        checkpoint: base.checkpoint,
        domains: base.domains,
        heldOutShare: 0.1,
        groups: 2,
        grouping: "even",
        overrides: { data: { sequenceLength }, evaluation: { sequencesPerDomain: 16 } },
        sampleTokens: 2048,
        leadBlocks: 4,
        ...input,
      },
    );
    await assert.rejects(step, { name: "AbortError" });
    return labels;
  }
  const [measuring, making] = ["Measuring experts on the domains", "Making stand-ins"];

  it("does not measure again what it measured before it was stopped, nor runs the model again for stand-ins that are made", async () => {
    const first = await run({ stopAt: making });
    assert.ok(first.includes(measuring));
    const second = await run({});
    assert.deepEqual([second.includes(measuring), second.includes(making)], [false, true]);
    const third = await run({});
    assert.deepEqual([third.includes(measuring), third.includes(making)], [false, false]);
  });

  it("measures again on other sequences, and makes stand-ins again where other bits are wanted or one is lost", async () => {
    await run({});
    const others = await run({ input: { sampleTokens: 4096 } });
    assert.deepEqual([others.includes(measuring), others.includes(making)], [true, true]);
    const bits = await run({ input: { standIns: { kind: "by-use", bits: 3 } } });
    assert.deepEqual([bits.includes(measuring), bits.includes(making)], [false, true]);
    const renamed = base.domains.map((domain) => ({ ...domain, name: `${domain.name}-2` }));
    assert.ok((await run({ input: { domains: renamed } })).includes(measuring));
    for (const hash of await workspace.objects.list()) await workspace.objects.remove(hash);
    assert.ok((await run({})).includes(making));
  });

  for (const [what, damage] of [
    ["the note is torn", ({ note }) => truncateSync(note, 5)],
    ["the note is too large", ({ note }) => truncateSync(note, 2 ** 26 + 1)],
    ["the note is no document", ({ note }) => writeFileSync(note, "null")],
    ["the note names no manifest", ({ note }) => writeFileSync(note, '{"standIns":"../task"}')],
    ["the manifest is torn", ({ manifest }) => truncateSync(manifest, 100)],
    ["the manifest is another", ({ manifest, other }) => copyFileSync(other, manifest)],
  ] as [string, (files: { note: string; manifest: string; other: string }) => void][]) {
    it(`makes stand-ins again where ${what}, and says so once`, async () => {
      await run({});
      const { layout, directory: state } = workspace;
      const notes = readdirSync(join(state, "measurements")).map((name) => join(state, "measurements", name));
      const note = notes.find((file) => readFileSync(file, "utf8").includes('"standIns"')) as string;
      const manifest = layout.manifest(JSON.parse(readFileSync(note, "utf8")).standIns);
      const manifests = dirname(manifest);
      const other = readdirSync(manifests).find((name) => name !== basename(manifest)) as string;
      damage({ note, manifest, other: join(manifests, other) });
      const said: string[] = [];
      assert.ok((await run({ said })).includes(making));
      assert.match(said.join("\n"), /cannot be used \(.+\): the stand-ins are made again/);
      assert.ok(!(await run({})).includes(making));
    });
  }

  it("reads the clock when all that the task names is published: cycle 0 is that far from when there is something to fetch", async () => {
    let read = 0;
    await run({
      onClock(published) {
        read += 1;
        const manifests = readdirSync(join(published, "manifests"));
        assert.equal(manifests.length, 2, "the base's and the stand-ins'");
        for (const name of manifests) {
          const { config, tokenizer, pieces } = JSON.parse(readFileSync(join(published, "manifests", name), "utf8"));
          for (const hash of [config, tokenizer, ...pieces.map((piece: { hash: string }) => piece.hash)])
            assert.ok(existsSync(join(published, "objects", hash)), hash);
        }
      },
    });
    assert.equal(read, 1);
  });
});
