/** What the routers of DeepSeek and of those that follow it share: groups of experts, and sigmoid scores with a correction bias. */
import * as v from "valibot";
import type { TopKRouter } from "./computation.ts";
import { expertCount, flag, invalidConfig, positive } from "./config.ts";

export const routerSettings = {
  n_group: v.nullish(expertCount),
  topk_group: v.nullish(expertCount),
  norm_topk_prob: v.nullish(flag),
  routed_scaling_factor: v.optional(positive, 1),
  scoring_func: v.optional(v.string()),
  topk_method: v.nullish(v.string()),
};
const settings = v.object({ ...routerSettings, n_routed_experts: expertCount, num_experts_per_tok: expertCount });
type RouterSettings = v.InferOutput<typeof settings>;

/** The groups that a router chooses from; undefined where it chooses among all experts. Throws `config-invalid`. */
export function expertGroups(read: RouterSettings, by: "largest" | "two-largest"): TopKRouter["groups"] {
  const { n_group: groups, topk_group: kept, n_routed_experts: experts, num_experts_per_tok: chosen } = read;
  const least = by === "largest" ? 1 : 2;
  if (!groups || !kept || experts % groups !== 0 || kept > groups || experts / groups < least)
    throw invalidConfig("n_group", `${kept} of ${groups} groups of ${experts} experts`);
  if ((experts / groups) * kept < chosen) throw invalidConfig("topk_group", `${kept} groups have fewer than ${chosen} experts`);
  return kept === groups ? undefined : { groups, kept, by };
}

/** Sigmoid scores, a correction bias for the choice, groups ranked by their two largest (arXiv 2412.19437), and what of it is set otherwise. */
export function correctedRouter(read: RouterSettings): { router: TopKRouter; notComputed: string[] } {
  const groups = expertGroups(read, "two-largest");
  return {
    router: {
      kind: "top-k",
      scores: "sigmoid",
      normalizeTopK: read.norm_topk_prob ?? true,
      scale: read.routed_scaling_factor,
      ...(groups && { groups }),
      weighs: "result",
    },
    notComputed: [
      ...((read.scoring_func ?? "sigmoid") === "sigmoid" ? [] : ["scoring_func"]),
      ...((read.topk_method ?? "noaux_tc") === "noaux_tc" ? [] : ["topk_method"]),
    ],
  };
}
