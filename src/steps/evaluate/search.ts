/** What merging asks of a version: its momentum, and losses on the gate's sequences. */
import { assess, domainLosses } from "../../protocol/gate.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { sliceMomentum } from "../model-weights.ts";
import { cycleSequences } from "./held-out.ts";
import type { OpenModel } from "./losses.ts";
import type { MergeSearch } from "./merge-groups.ts";

export async function openSearch(context: Context, membership: Membership, view: CycleView, opened: OpenModel): Promise<MergeSearch> {
  const { task } = membership;
  const { gate: drawn } = await cycleSequences(context, membership, { cycle: view.cycle, slice: opened.slice });
  const gate = { drawn, domains: task.data.domains.length, errorRate: task.merge.errorRate };
  const measure: MergeSearch["measure"] = async (steps) => {
    const { base, candidates } = await opened.losses(drawn, steps);
    return { before: domainLosses(base, drawn, gate.domains), assessed: candidates.map((losses) => assess(gate, base, losses)) };
  };
  return { task, momentum: sliceMomentum(context, opened.slice), measure };
}
