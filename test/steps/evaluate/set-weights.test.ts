import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Chain } from "../../../src/chain/client.ts";
import { setHyperparameter } from "../../../src/chain/development.ts";
import { epochAt, firstBlockOf } from "../../../src/chain/epochs.ts";
import type { Localnet } from "../../../src/chain/localnet/index.ts";
import { createChainClock } from "../../../src/steps/clock.ts";
import type { Context } from "../../../src/steps/context.ts";
import { setWeights } from "../../../src/steps/evaluate/set-weights.ts";
import type { Membership } from "../../../src/steps/membership.ts";
import { openWorkspace, type Workspace } from "../../../src/workspace/workspace.ts";
import { createOpened, genesisOf, inStillness, netuid, type People, passTo, people } from "../../chain/support.ts";

/** A validator's step on a real chain with a real workspace; what the merges of four cycles agreed on is written down. */
describe("setting weights on a subnet that wants them committed first", () => {
  const opened = createOpened();
  const membership = { task: { weights: { window: 1 } } } as unknown as Membership;
  let directory: string;
  let net: Localnet;
  let chain: Chain;
  let who: People;
  let workspace: Workspace;
  /** The last block in which the third cycle's weights may be revealed. */
  let lastChance: number;

  before(async () => {
    who = await people();
    net = await opened.localnet({
      genesis: genesisOf(who, { tempo: 59, weightsRateLimit: 2, revealPeriodEpochs: 2, commitRevealEnabled: true }),
    });
    chain = await opened.chain(net.endpoint);
    directory = await mkdtemp(join(tmpdir(), "connito-weights-"));
    workspace = await openWorkspace(directory, { lock: true });
    for (const cycle of [0, 1, 2, 3]) {
      const path = workspace.layout.cycle(cycle, "merge.json");
      await mkdir(dirname(path), { recursive: true });
      const verdicts = who.miners.map(({ address }, index) => ({ miner: address, score: 100 * (cycle + 1) + 50 * index }));
      await writeFile(path, JSON.stringify({ verdicts }));
    }
  });
  after(async () => {
    await workspace.close();
    await opened.close();
    await rm(directory, { recursive: true, force: true });
  });

  function run(cycle: number): ReturnType<typeof setWeights> {
    const signal = new AbortController().signal;
    const context = { workspace, chain, clock: createChainClock(chain), netuid, signer: who.validator, signal } as unknown as Context;
    return setWeights(context, membership, { cycle });
  }

  const row = async (): Promise<unknown> => (await chain.weights(netuid, (await chain.finalizedHead()).hash)).get(0);

  it("commits them, and reveals them in a later run, also after a restart, once", async () => {
    const committed = await run(0);
    assert.ok(committed.block !== undefined && committed.reveal !== undefined && committed.revealed.length === 0);
    assert.equal(await row(), undefined);
    const { block, reveal, weights } = await run(0);
    assert.deepEqual({ block, reveal, weights }, { block: committed.block, reveal: committed.reveal, weights: committed.weights });
    await workspace.close();
    workspace = await openWorkspace(directory, { lock: true });

    const { from, until } = committed.reveal;
    await passTo(net, chain, from);
    const next = await inStillness(net, () => run(1));
    const [revealed] = next.revealed;
    assert.ok(revealed?.cycle === 0 && revealed.block >= from && revealed.block <= until);
    assert.deepEqual(await row(), committed.weights);
    assert.notDeepEqual(next.weights, committed.weights);
    const again = await inStillness(net, () => run(1));
    assert.deepEqual([again.revealed, again.reveal], [[], next.reveal]);
  });

  it("reveals them in the blocks that the subnet's tempo makes the right ones, whatever it was at the commit", async () => {
    const { block = 0, reveal } = await run(1);
    const clock = { netuid, tempo: 19 };
    const epoch = epochAt(clock, block) + 2;
    assert.ok(reveal !== undefined && firstBlockOf(clock, epoch + 1) <= reveal.from);
    await inStillness(net, () => setHyperparameter(chain, netuid, "tempo", clock.tempo));
    await passTo(net, chain, firstBlockOf(clock, epoch));
    const next = await inStillness(net, () => run(2));
    assert.deepEqual(
      next.revealed.map(({ cycle }) => cycle),
      [1],
    );
    lastChance = next.reveal?.until ?? Number.NaN;
  });

  it("says in the journal what was not revealed in time, and goes on", async () => {
    await passTo(net, chain, lastChance + 1);
    await setHyperparameter(chain, netuid, "commitRevealWeightsEnabled", false);
    const result = await run(3);
    assert.deepEqual([result.revealed, result.reveal], [[], undefined]);
    assert.match(JSON.stringify(workspace.journal.find("weights-reveal/2").failed), /"code":"weights-commit-lost"/);
    assert.deepEqual(await row(), result.weights);
  });
});
