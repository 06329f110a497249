/** Level 1: which miner trains which group in a cycle, and which experts that means. */

import { groupOfMiner } from "../../protocol/experts/assignment.ts";
import type { ExpertMappingDocument } from "../../protocol/experts/expert-mapping.ts";
import { createExpertMapping } from "../../protocol/experts/expert-mapping.ts";
import { writeJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import { requireRegistered, viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { resolveSlice } from "./slice.ts";

export interface AssignResult {
  readonly cycle: number;
  readonly base: string;
  readonly block: number;
  /** Hotkeys by group. */
  readonly groups: readonly (readonly string[])[];
  readonly unavailable: readonly string[];
  /** The group of the hotkey that asked; absent when it has none. */
  readonly group?: number;
  readonly mapping: ExpertMappingDocument;
}

/** Computes the cycle's assignment and keeps the ExpertMapping under cycles/N/mapping.json. @throws no-such-cycle, not-registered */
export async function assign(context: Context, membership: Membership, input: { cycle: number }): Promise<AssignResult> {
  const view = await viewCycle(context, membership, input.cycle);
  requireRegistered(view, context.signer.address);
  const { manager } = await resolveSlice(context, membership, { root: view.base, group: "whole" });
  const mapping = createExpertMapping(view.assignment, manager).toDocument();
  await writeJson(context.workspace.layout.cycle(input.cycle, "mapping.json"), mapping);
  const group = groupOfMiner(view.assignment, context.signer.address);
  return {
    cycle: input.cycle,
    base: view.base,
    block: view.block,
    groups: view.assignment.groups,
    unavailable: view.assignment.unavailable,
    ...(group === undefined ? {} : { group }),
    mapping,
  };
}
