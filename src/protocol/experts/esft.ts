/**
 * Level 2 of selection, ESFT (arXiv 2407.01906; docs/protocol.md, section 5): within a group, the experts that the domain's tokens
 * use. Scores are normalised over the group's experts of one layer; published code that normalises over layers instead contradicts
 * the scores published with it.
 */
import * as v from "valibot";
import { ConnitoError } from "../../errors.ts";
import type { SelectionRule } from "../task.ts";
import type { ExpertManager, LayerExperts } from "./expert-manager.ts";

/** Scores over fewer tokens say little about a domain. */
export const minimumScoreTokens = 1024;

/** What the router did with the domains' tokens, for every expert of every layer of the base. */
export interface ExpertScores {
  readonly format: "connito/expert-scores/1";
  /** Tokens the router saw. */
  readonly tokens: number;
  readonly layers: readonly {
    readonly layer: number;
    /** Mean gate weight over the tokens, by expert. */
    readonly gate: readonly number[];
    /** Mean over the tokens of 1/K where the expert was one of the K chosen, else 0. */
    readonly token: readonly number[];
  }[];
}

/** The selected experts of each layer, rising. */
export type SelectedExperts = LayerExperts[];

/** @throws threshold-out-of-range */
export function assertThreshold(threshold: number): void {
  if (threshold > 0 && threshold <= 1) return;
  throw new ConnitoError(`The threshold ${threshold} is not above 0 and at most 1`, {
    code: "threshold-out-of-range",
    exit: "invalidInput",
    hint: "Use 0.2 with token ratio or 0.1 with gate scores, as the method's authors do; 1 selects every expert that has a score.",
  });
}

/** Scores scaled to sum to one; equal shares where no expert has a score. */
export function sharesOf(scores: readonly number[]): number[] {
  const total = scores.reduce((sum, score) => sum + score, 0);
  return scores.map((score) => (total > 0 ? score / total : 1 / scores.length));
}

/**
 * The candidates of one layer that are trained, in falling order of score (ties: the lower index): taken while the sum of scores
 * before taking is below `threshold`, and never with a score of 0. `scores[i]` belongs to `candidates[i]`; they are shares that sum to
 * one, as `sharesOf` makes them. Throws `threshold-out-of-range`.
 */
export function selectExperts(input: {
  readonly scores: readonly number[];
  readonly candidates: readonly number[];
  readonly threshold: number;
}): number[] {
  const { scores, candidates, threshold } = input;
  assertThreshold(threshold);
  if (scores.length !== candidates.length) throw new Error(`${scores.length} scores for ${candidates.length} experts`);
  const order = candidates
    .map((expert, index) => ({ expert, score: scores[index] as number }))
    .sort((a, b) => b.score - a.score || a.expert - b.expert);
  const selected: number[] = [];
  let taken = 0;
  for (const { expert, score } of order) {
    if (taken >= threshold || score === 0) break;
    selected.push(expert);
    taken += score;
  }
  return selected;
}

/**
 * The experts of a group that its miners train. Throws `threshold-out-of-range`, `too-few-tokens`, or `expert-scores-invalid` when the
 * scores are not of this model.
 */
export function selectForGroup(
  scores: ExpertScores,
  manager: ExpertManager,
  group: number,
  rule: Pick<SelectionRule, "score" | "threshold">,
): SelectedExperts {
  assertThreshold(rule.threshold);
  checkScores(scores, manager);
  return manager.expertsOf(group).map(({ layer, experts }, index) => {
    const ofLayer = scores.layers[index]?.[rule.score] as readonly number[];
    const selected = selectExperts({
      scores: sharesOf(experts.map((expert) => ofLayer[expert] as number)),
      candidates: experts,
      threshold: rule.threshold,
    });
    return { layer, experts: selected.sort((a, b) => a - b) };
  });
}

function scoresInvalid(reason: string): ConnitoError {
  return new ConnitoError(`The expert scores cannot be used: ${reason}`, {
    code: "expert-scores-invalid",
    exit: "invalidInput",
    hint: "Run `connito esft select` on the task's base model to make them again.",
  });
}

function checkScores(scores: ExpertScores, manager: ExpertManager): void {
  if (scores.tokens < minimumScoreTokens) {
    throw new ConnitoError(`The expert scores were taken over ${scores.tokens} tokens; at least ${minimumScoreTokens} are needed`, {
      code: "too-few-tokens",
      exit: "invalidInput",
      hint: "Sample more text of the domain; the method's authors use 131,072 tokens.",
    });
  }
  const { layers } = manager.layout;
  if (scores.layers.length !== layers.length)
    throw scoresInvalid(`${scores.layers.length} layers, the model has ${layers.length} with experts`);
  layers.forEach(({ layer, experts }, index) => {
    const entry = scores.layers[index];
    if (entry?.layer !== layer) throw scoresInvalid(`layer ${entry?.layer} stands where the model has layer ${layer}`);
    for (const list of [entry.gate, entry.token]) {
      if (list.length !== experts) throw scoresInvalid(`layer ${layer} has ${list.length} scores, the model has ${experts} experts`);
      if (!list.every((score) => Number.isFinite(score) && score >= 0)) throw scoresInvalid(`layer ${layer} has a score that is no share`);
    }
  });
}

const scoreList = v.pipe(v.array(v.pipe(v.number(), v.minValue(0), v.maxValue(1))), v.maxLength(65_536));

const scoresSchema = v.strictObject({
  format: v.literal("connito/expert-scores/1"),
  tokens: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  layers: v.pipe(
    v.array(v.strictObject({ layer: v.pipe(v.number(), v.safeInteger(), v.minValue(0)), gate: scoreList, token: scoreList })),
    v.maxLength(65_536),
  ),
});

/** The scores that a parsed JSON value is; with `manager`, of its model. Throws `expert-scores-invalid` or `too-few-tokens`. */
export function parseExpertScores(value: unknown, manager?: ExpertManager): ExpertScores {
  const result = v.safeParse(scoresSchema, value);
  if (!result.success) {
    const [issue] = result.issues;
    throw scoresInvalid(`${v.getDotPath(issue) ?? "the document"}: ${issue.message}`);
  }
  if (manager !== undefined) checkScores(result.output, manager);
  return result.output;
}
