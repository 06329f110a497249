import { availableParallelism, tmpdir } from "node:os";
import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { readInput } from "../../cli/input.ts";
import { groupings, keptSchema, keptTable } from "../../cli/kept-weight.ts";
import { ConnitoError } from "../../errors.ts";
import { openCheckpoint } from "../../model/checkpoint.ts";
import { requireComputable } from "../../model/families/index.ts";
import { indexCheckpoint } from "../../model/index-checkpoint.ts";
import { expertLayout } from "../../model/slice.ts";
import {
  assertThreshold,
  type ExpertScores,
  parseExpertScores,
  type SelectedExperts,
  selectForGroup,
} from "../../protocol/experts/esft.ts";
import { createExpertManager, type ExpertLayout, type ExpertManager } from "../../protocol/experts/expert-manager.ts";
import { groupExperts, type KeptWeight, keptWeight } from "../../protocol/experts/group-experts.ts";
import { parseRouterStatistics, type RouterStatistics, scoresOf } from "../../protocol/experts/router-statistics.ts";
import { defaultSampleTokens, measureExperts, sampleTexts } from "../../steps/distribute/select-experts.ts";
import { table } from "../../ui/table.ts";
import { writeJson } from "../../workspace/files.ts";

interface SelectResult {
  readonly score: "token" | "gate";
  readonly threshold: number;
  readonly tokens: number;
  readonly groups: readonly { readonly group: number; readonly layers: SelectedExperts }[];
  readonly scores: ExpertScores;
  /** How much of each text's routed weight stays in one group, evenly split and grouped by what experts do; absent without counts. */
  readonly kept?: Readonly<Record<Grouping, readonly KeptWeight[]>>;
}

type Grouping = (typeof groupings)[number];

export default class EsftSelect extends BaseCommand<typeof EsftSelect, SelectResult> {
  static override readonly summary = "Measure which experts a domain uses, and select them by ESFT.";
  static override readonly description =
    "Runs the router over the texts and takes, in each layer and group, the experts with the largest scores until their share reaches the threshold (arXiv 2407.01906). The owner hands the measurement to `task create`; anyone with the model can make it again and compare.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --model ./base --text speeches.txt --groups 2 --threshold 0.9 --save scores.json",
    "<%= config.bin %> <%= command.id %> --model ./base --scores scores.json --score gate --threshold 0.1 --json",
  ];
  static override readonly flags = {
    model: Flags.directory({ helpValue: "DIRECTORY", summary: "The checkpoint.", required: true }),
    text: Flags.string({
      helpValue: "FILE",
      summary: "A UTF-8 text of the domain. May be given several times.",
      multiple: true,
      exclusive: ["scores"],
    }),
    scores: Flags.string({ helpValue: "FILE|-", summary: "Select from a measurement that --save wrote, instead of measuring." }),
    groups: Flags.integer({ helpValue: "NUMBER", summary: "Expert groups.", default: 1, min: 1 }),
    statistics: Flags.string({
      helpValue: "FILE|-",
      summary: "Select and group from counts that --save-statistics wrote, instead of measuring.",
      exclusive: ["text", "scores"],
    }),
    grouping: Flags.option({ options: groupings })({
      summary: "Groups of equal numbers, of experts that serve the same texts, or of experts that tokens choose together.",
      default: "even",
    }),
    score: Flags.option({ options: ["token", "gate"] as const })({ summary: "Token ratio or gate score.", default: "token" }),
    threshold: Flags.string({ helpValue: "P", summary: "Cumulative share, above 0 and up to 1.", default: "0.2" }),
    "sample-tokens": Flags.integer({
      helpValue: "NUMBER",
      summary: "Tokens to run the router over.",
      default: defaultSampleTokens,
      min: 1,
    }),
    "sequence-length": Flags.integer({ helpValue: "NUMBER", summary: "Tokens in a sequence.", default: 128, min: 2 }),
    save: Flags.string({ helpValue: "FILE", summary: "Keep the scores in a file." }),
    "save-statistics": Flags.string({ helpValue: "FILE", summary: "Keep what was counted, from which scores and groups follow." }),
    threads: Flags.integer({ helpValue: "NUMBER", summary: "Threads; by default one for each core.", min: 1 }),
  };

  static override resultSchema() {
    const layers = v.array(v.object({ layer: v.number(), experts: v.array(v.number()) }));
    return v.object({
      score: v.picklist(["token", "gate"]),
      threshold: v.number(),
      tokens: v.number(),
      groups: v.array(v.object({ group: v.number(), layers })),
      scores: v.looseObject({}),
      kept: v.optional(keptSchema),
    });
  }

  protected async perform({ flags, progress, signal }: Invocation<typeof EsftSelect>): Promise<SelectResult> {
    const rule = { score: flags.score, threshold: Number(flags.threshold) };
    // Before anything slow.
    assertThreshold(rule.threshold);
    const checkpoint = await openCheckpoint(flags.model);
    const layout = expertLayout(checkpoint.architecture);
    const even = createExpertManager(layout, flags.groups);
    let scores: ExpertScores;
    let statistics: RouterStatistics | undefined;
    if (flags.scores !== undefined) {
      const bytes = await readInput(flags.scores, { maximumBytes: 64 * 2 ** 20, signal });
      scores = parseExpertScores(JSON.parse(new TextDecoder().decode(bytes)), even);
    } else if (flags.statistics !== undefined) {
      const bytes = await readInput(flags.statistics, { maximumBytes: 256 * 2 ** 20, signal });
      statistics = parseRouterStatistics(JSON.parse(new TextDecoder().decode(bytes)));
      scores = parseExpertScores(scoresOf(statistics), even);
    } else if (flags.text !== undefined) {
      requireComputable(checkpoint.architecture, checkpoint.directory);
      const sequenceLength = flags["sequence-length"];
      statistics = await measureExperts(
        {
          checkpoint,
          indexed: await indexCheckpoint(checkpoint, { signal }),
          sample: await sampleTexts({
            files: flags.text,
            tokenizer: checkpoint.tokenizer,
            sequenceLength,
            sampleTokens: flags["sample-tokens"],
          }),
          sequenceLength,
          threads: flags.threads ?? availableParallelism(),
          scratchDirectory: tmpdir(),
          signal,
        },
        progress,
      );
      scores = scoresOf(statistics);
    } else {
      throw new ConnitoError("There is nothing to select from.", {
        code: "usage",
        exit: "usage",
        hint: "Give --text FILE to measure on, or --scores or --statistics FILE with a measurement.",
      });
    }
    if (statistics === undefined && flags.grouping !== "even") {
      throw new ConnitoError("Scores alone do not say which experts work together.", {
        code: "usage",
        exit: "usage",
        hint: "Give --text or --statistics instead of --scores.",
      });
    }
    const managers = statistics && managersOf(statistics, layout, flags.groups);
    const manager = managers?.[flags.grouping] ?? even;
    const groups = Array.from({ length: flags.groups }, (_, group) => ({ group, layers: selectForGroup(scores, manager, group, rule) }));
    // A measurement that nothing can be selected from is not worth keeping.
    if (flags.save !== undefined) await writeJson(flags.save, scores);
    if (flags["save-statistics"] !== undefined && statistics !== undefined) await writeJson(flags["save-statistics"], statistics);
    const keptBy = (by: Grouping) => keptWeight(statistics as RouterStatistics, (managers?.[by] ?? even).layers(), flags.groups);
    const kept = statistics && { even: keptBy("even"), affinity: keptBy("affinity"), coactivation: keptBy("coactivation") };
    return { ...rule, tokens: scores.tokens, groups, scores, ...(kept && { kept }) };
  }

  protected render({ groups, tokens, score, threshold, kept }: SelectResult): string {
    const rows = groups.flatMap(({ group, layers }) =>
      layers.map(({ layer, experts }) => [group, layer, experts.length, experts.join(" ")]),
    );
    const right = (heading: string) => ({ heading, align: "right" as const });
    const selection = `By ${score === "token" ? "token ratio" : "gate score"} up to ${threshold}, over ${tokens} tokens:\n${table([right("group"), right("layer"), right("count"), "experts"], rows)}`;
    if (kept === undefined || groups.length === 1) return selection;
    return `${selection}\n\n${keptTable(groups.length, kept)}`;
  }
}

function managersOf(statistics: RouterStatistics, layout: ExpertLayout, groups: number): Record<Grouping, ExpertManager> {
  const grouped = (by: "affinity" | "coactivation") => createExpertManager(layout, groups, groupExperts(statistics, groups, by));
  return { even: createExpertManager(layout, groups), affinity: grouped("affinity"), coactivation: grouped("coactivation") };
}
