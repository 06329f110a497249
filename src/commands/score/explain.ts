import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { cycleFlags, openParticipant, participantFlags } from "../../cli/participant.ts";
import type { OwnShown } from "../../steps/evaluate/evidence.ts";
import { type Explanation, explainScore, type ScorerExplanation } from "../../steps/evaluate/explain.ts";
import { newestScoredCycle } from "../../steps/evaluate/past-cycle.ts";
import { joinTask } from "../../steps/membership.ts";
import { formatMicroNats, formatTao, shortAddress, shortHash } from "../../ui/format.ts";
import { fields, table } from "../../ui/table.ts";

export default class ScoreExplain extends BaseCommand<typeof ScoreExplain, Explanation> {
  static override readonly summary = "Explain a miner's score of a past cycle from public data, and compute it again.";
  static override readonly description =
    "Reads the chain and the scorers' signed reports and evidence; from the losses there the score follows by the rules of docs/protocol.md. Where scorers contradict each other, it says whom the evidence bears out. With --measure the base and the group's submissions are fetched, the losses of the sequences that validators show are measured again here, and the submission is compared with the others. Beside a running `cycle run`, give another --state-dir.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --cycle 12",
    "<%= config.bin %> <%= command.id %> --netuid 1 --cycle 12 --miner 5F... --measure --json",
  ];
  static override readonly flags = {
    ...participantFlags,
    cycle: cycleFlags.cycle,
    miner: Flags.string({ helpValue: "ADDRESS", summary: "The miner's hotkey address; by default the one of --hotkey." }),
    measure: Flags.boolean({ summary: "Fetch the whole base and measure the submission on the sequences that were shown." }),
  };

  static override resultSchema() {
    const judgement = v.object({ status: v.string(), score: v.number(), sequences: v.number() });
    const likeness = v.object({
      share: v.number(),
      usual: v.number(),
      like: v.array(v.string()),
      weight: v.optional(v.number()),
      effect: v.optional(v.number()),
      random: v.optional(v.number()),
    });
    const compared = v.object({ ...likeness.entries, copy: v.boolean() });
    const own = v.object({ effect: v.number(), error: v.number(), asked: v.number() });
    const scorer = v.object({
      validator: v.string(),
      stake: v.string(),
      report: v.string(),
      status: v.optional(v.string()),
      score: v.optional(v.number()),
      computedAgain: v.optional(judgement),
      likeness: v.optional(likeness),
      own: v.optional(own),
      consistent: v.optional(v.boolean()),
      largestDifference: v.optional(v.number()),
    });
    return v.object({
      cycle: v.number(),
      hotkey: v.string(),
      group: v.number(),
      base: v.string(),
      chain: v.string(),
      root: v.nullable(v.string()),
      agreed: v.optional(v.object({ status: v.string(), score: v.number() })),
      settled: v.string(),
      meaning: v.string(),
      hint: v.string(),
      scorers: v.array(scorer),
      measured: v.number(),
      compared: v.optional(compared),
      own: v.optional(v.object({ ...own.entries, tooLittle: v.boolean() })),
    });
  }

  protected async perform(invocation: Invocation<typeof ScoreExplain>): Promise<Explanation> {
    const { flags } = invocation;
    const context = await openParticipant(invocation);
    const membership = await joinTask(context);
    const cycle = flags.cycle ?? (await newestScoredCycle(context, membership));
    return explainScore(context, membership, { cycle, hotkey: flags.miner ?? context.signer.address, measure: flags.measure });
  }

  protected render(result: Explanation): string {
    const { cycle, hotkey, group, root, agreed, settled, meaning, hint, scorers, measured, compared, own } = result;
    const right = (heading: string) => ({ heading, align: "right" as const });
    const asksOwn = scorers.some((scorer) => scorer.own !== undefined);
    const headings = [
      ...["scorer", right("stake"), "says", right("score"), "computed again", right("sequences"), right("likeness")],
      ...(asksOwn ? [right("own training")] : []),
      right("measured here"),
    ];
    const rows = scorers.map((scorer) => [
      shortAddress(scorer.validator),
      formatTao(scorer.stake),
      says(scorer),
      scorer.score === undefined ? undefined : formatMicroNats(scorer.score),
      again(scorer),
      scorer.computedAgain?.sequences,
      scorer.likeness === undefined ? undefined : scorer.likeness.share.toFixed(3),
      ...(asksOwn ? [scorer.own === undefined ? undefined : ownTraining(scorer.own)] : []),
      scorer.largestDifference?.toExponential(1),
    ]);
    return [
      fields([
        ["miner", hotkey],
        ["cycle", `${cycle}, group ${group}`],
        ["submission", root === null ? "none" : shortHash(root)],
        ["agreed", agreed === undefined ? "not known here" : `${agreed.status}, ${formatMicroNats(agreed.score)} nats/token`],
        ["settled by", settlements[settled]],
        ["meaning", meaning],
        ["what to do", hint],
      ]),
      "",
      table(headings, rows),
      ...(measured > 0 ? ["", `Measured here on ${measured} sequences: the largest difference in nats per token.`] : []),
      ...(compared
        ? [
            compared.copy
              ? `Compared here: a near copy, most like ${compared.like.map(shortAddress).join(", ")}.`
              : "Compared here: no near copy.",
          ]
        : []),
      ...(own ? [`Own training, measured here: ${ownTraining(own)}, which is ${own.tooLittle ? "too little" : "enough"}.`] : []),
    ].join("\n");
  }
}

const settlements: Readonly<Record<Explanation["settled"], string>> = {
  chain: "the chain alone, which refuses it",
  median: "the median of the reports, by stake",
  merge: "measuring again when this validator merged: the reports contradict each other",
  evidence: "the evidence: the reports contradict each other, and only these bear theirs out",
  open: "nothing that is known here",
};

/** In standard deviations of the gain on a sequence, with its standard error, beside what is asked where something is. */
function ownTraining({ effect, error, asked }: OwnShown): string {
  return `${effect.toFixed(2)} ± ${error.toFixed(2)}${asked > 0 ? ` of ${asked.toFixed(2)}` : ""}`;
}

function says({ report, status }: ScorerExplanation): string {
  if (status === undefined) return report;
  if (report === "against-chain") return `${status} (the chain says otherwise)`;
  return report === "contradicted" ? `${status} (contradicted)` : status;
}

function again({ consistent, computedAgain }: ScorerExplanation): string | undefined {
  if (consistent === undefined) return undefined;
  return consistent ? "the same" : `${computedAgain?.status ?? "unclear"} ${formatMicroNats(computedAgain?.score ?? 0)}`;
}
