/** What the chain alone says of each assigned miner: the commits that stood when their window closed, against the reveals. */

import { windowOf } from "../../protocol/clock.ts";
import { type ChainCommit, type ChainVerdict, chainVerdicts } from "../../protocol/verdict.ts";
import { recordsInWindow } from "../chain-records.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";

/** One verdict for each assigned miner, and all commits with their places. */
export async function readVerdicts(
  context: Context,
  { task }: Membership,
  view: CycleView,
): Promise<{ verdicts: ChainVerdict[]; commits: ChainCommit[] }> {
  const { chain, netuid } = context;
  const commitWindow = windowOf(task, view.cycle, "commit");
  const revealWindow = windowOf(task, view.cycle, "reveal");
  const [commitState, revealState] = await Promise.all([chain.blockHash(commitWindow.last), chain.blockHash(revealWindow.last)]);
  const [commits, reveals] = await Promise.all([
    recordsInWindow(chain, netuid, commitState, "commit", view.cycle, commitWindow),
    recordsInWindow(chain, netuid, revealState, "reveal", view.cycle, revealWindow),
  ]);
  const placed: ChainCommit[] = await Promise.all(
    commits.map(async (commit) => ({
      ...commit,
      extrinsicIndex: (await chain.extrinsicIndex({ block: commit.block, hotkey: commit.hotkey, netuid })) ?? 0,
    })),
  );
  return { verdicts: chainVerdicts({ task, assignment: view.assignment, baseRoot: view.base, commits: placed, reveals }), commits: placed };
}
