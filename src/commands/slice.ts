import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { cycleFlags, openCycle, participantFlags } from "../cli/participant.ts";
import { assignedGroup, viewCycle } from "../steps/cycle-view.ts";
import { type SliceResult, slice } from "../steps/distribute/slice.ts";
import { formatBytes, shortHash } from "../ui/format.ts";

export default class Slice extends BaseCommand<typeof Slice, SliceResult> {
  static override readonly summary = "Bring this hotkey's slice of the model here, or another group's, or all of it.";
  static override readonly description =
    "Pieces come from validators and the owner, and each is verified against the root on the chain. What is here already is not fetched again; stopped half-way, it goes on where it was, in the file as well.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1",
    "<%= config.bin %> <%= command.id %> --netuid 1 --group 3 --file slice.safetensors",
    "<%= config.bin %> <%= command.id %> --netuid 1 --whole --json",
  ];
  static override readonly flags = {
    ...participantFlags,
    ...cycleFlags,
    group: Flags.integer({
      helpValue: "NUMBER",
      summary: "The group; by default the one assigned to this hotkey.",
      min: 0,
      exclusive: ["whole"],
    }),
    whole: Flags.boolean({ summary: "All pieces of the version, as a validator needs them.", exclusive: ["group"] }),
    file: Flags.string({ helpValue: "FILE", summary: "Also write the slice as one safetensors file." }),
    prune: Flags.boolean({ summary: "Then remove what only older versions and cycles need, as `cycle run` does every cycle." }),
  };

  static override resultSchema() {
    return v.object({
      root: v.string(),
      group: v.union([v.number(), v.literal("whole")]),
      pieces: v.number(),
      bytes: v.object({ backbone: v.number(), experts: v.number(), momentum: v.number(), standIns: v.number() }),
      fetchedPieces: v.number(),
      fetchedBytes: v.number(),
      presentBytes: v.number(),
      previous: v.optional(
        v.object({
          root: v.string(),
          group: v.union([v.number(), v.literal("whole")]),
          sharedBytes: v.number(),
          changedBytes: v.number(),
        }),
      ),
      prunedBytes: v.optional(v.number()),
      file: v.optional(v.string()),
    });
  }

  protected async perform(invocation: Invocation<typeof Slice>): Promise<SliceResult> {
    const { context, membership, input } = await openCycle(invocation);
    const { flags } = invocation;
    const view = await viewCycle(context, membership, input.cycle);
    const group = flags.whole ? "whole" : (flags.group ?? assignedGroup(view, context.signer.address));
    const { file, prune } = flags;
    const pruning = prune ? { prune: { cycle: input.cycle } } : {};
    return slice(context, membership, { root: view.base, group, ...pruning, ...(file === undefined ? {} : { file }) });
  }

  protected render({ root, group, bytes, fetchedBytes, presentBytes, previous, prunedBytes, file }: SliceResult): string {
    const parts = Object.entries(bytes).filter(([, size]) => size > 0);
    return [
      `Slice ${group === "whole" ? "(whole)" : `of group ${group}`} at version ${shortHash(root)}:`,
      ...parts.map(([part, size]) => `  ${part.padEnd(9)} ${formatBytes(size)}`),
      `Fetched ${formatBytes(fetchedBytes)}; ${formatBytes(presentBytes)} were here already.`,
      ...(previous === undefined ? [] : [comparison(previous)]),
      ...(prunedBytes === undefined ? [] : [`Removed ${formatBytes(prunedBytes)} of older versions and cycles.`]),
      ...(file === undefined ? [] : [`Written to ${file}.`]),
    ].join("\n");
  }
}

function comparison({ root, group, sharedBytes, changedBytes }: NonNullable<SliceResult["previous"]>): string {
  const before = `${group === "whole" ? "all" : `group ${group}`} of version ${shortHash(root)}`;
  return `Shared with ${before}, which was here before: ${formatBytes(sharedBytes)}; changed: ${formatBytes(changedBytes)}.`;
}
