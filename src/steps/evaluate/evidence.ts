/**
 * A validator's evidence: the losses that its scores follow from, and some sequences with their tokens, so that a miner can compute its own
 * score again and check that the losses are those of its submission. Named by hash in the signed report.
 */

import * as v from "valibot";
import { ConnitoError } from "../../errors.ts";
import { canonicalJson } from "../../protocol/canonical.ts";
import { type Evidence, type Judgement, judge } from "../../protocol/evaluation.ts";
import { areOpenSequences, areStages, type DrawTask, mostSequences } from "../../protocol/held-out.ts";
import { askedOf, type OwnEffect, whoShowLittle } from "../../protocol/own-training.ts";
import type { ReportEntry } from "../../protocol/report.ts";

const finite = v.pipe(v.number(), v.finite());
const natural = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** What fits in 32 bits with a sign, as token ids are computed on. */
const token = v.pipe(natural, v.maxValue(2 ** 31 - 1));
const losses = v.array(finite);
const place = { domain: natural, index: natural };

const schema = v.strictObject({
  format: v.literal("connito/evidence/1"),
  /** Sequences in each stage, and the base's losses on all that were measured, stage by stage. */
  stages: v.array(natural),
  baseLosses: losses,
  /** Sequences that are shown; never paid for. */
  open: v.array(v.strictObject({ ...place, tokens: v.array(token), baseLoss: finite })),
  miners: v.array(
    v.strictObject({
      miner: v.string(),
      /** Losses on the stages it took, and on the open sequences (-1 for one that is not finite); none where there was no time. */
      losses,
      openLosses: losses,
      /** What earlier submissions explain of it, the largest weight of another in it, what it adds to them (section 8 of the protocol). */
      likeness: v.optional(
        v.strictObject({
          share: v.number(),
          usual: v.number(),
          like: v.array(v.string()),
          weight: v.optional(v.number()),
          effect: v.optional(v.number()),
          random: v.optional(v.number()),
        }),
      ),
      /** What it shows of training of its own, where the task asks for that and it would be paid otherwise. */
      own: v.optional(v.strictObject({ effect: finite, error: finite })),
    }),
  ),
});

export type ScoreEvidence = v.InferOutput<typeof schema>;
export type MinerEvidence = ScoreEvidence["miners"][number];
export type Likeness = NonNullable<MinerEvidence["likeness"]>;

/** Larger evidence is not read, whatever the task. */
const maximumBytes = 64 * 2 ** 20;
/** What JSON takes at most, with its comma, for a loss, a natural number and a token. */
const bytesOf = { loss: 25, natural: 17, token: 11 };
/** What it takes for names and brackets, and for a miner's address, likeness and own training. */
const frameBytes = 256;
const minerBytes = 768;

/** The most bytes that evidence on so many miners has: it is a validator's own, and would be read whole. */
export function mostEvidenceBytes(task: DrawTask, miners: number): number {
  const { scored, shown } = mostSequences(task);
  const stages = frameBytes + task.evaluation.stages * bytesOf.natural + scored * bytesOf.loss;
  const open = shown * (frameBytes + (task.data.sequenceLength + 1) * bytesOf.token);
  return Math.min(maximumBytes, stages + open + miners * (minerBytes + (scored + shown) * bytesOf.loss));
}

export function encodeEvidence(evidence: Omit<ScoreEvidence, "format">): Uint8Array {
  return canonicalJson({ format: "connito/evidence/1", ...evidence });
}

/** @throws evidence-oversize, also where somebody named an object as evidence that is here for something else */
export function checkEvidenceBytes(bytes: number, most: number): void {
  if (bytes <= most) return;
  throw new ConnitoError(`The evidence has ${bytes} bytes, and all that this task's can say takes ${most}`, {
    code: "evidence-oversize",
    exit: "verification",
    hint: "It is not read. The validator that signed it made it with other rules, or lied; look at the other scorers' reports.",
  });
}

/** @throws evidence-invalid */
export function parseEvidence(bytes: Uint8Array): ScoreEvidence {
  let document: unknown;
  try {
    document = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw invalid("it is not JSON", cause);
  }
  const parsed = v.safeParse(schema, document, { abortEarly: true });
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw invalid(`${v.getDotPath(issue) ?? "the document"}: ${issue.message}`);
  }
  const { miners } = parsed.output;
  if (new Set(miners.map(({ miner }) => miner)).size < miners.length) throw invalid("miners: one is there twice");
  return parsed.output;
}

/** What a reader knows of a cycle's draw by itself: the held-out data's sizes only where it may have their documents. */
export interface KnownDraw {
  readonly task: DrawTask;
  readonly seed: string;
  readonly available: readonly number[] | undefined;
}

/**
 * Refuses evidence on other stages or open sequences than were drawn: with fewer stages, or smaller ones, losses would found a score that they do not
 * found. Where time was out before the first stage, none are shown. @throws evidence-not-drawn
 */
export function checkDrawn(draw: KnownDraw, { stages, baseLosses, open }: Pick<ScoreEvidence, "stages" | "baseLosses" | "open">): void {
  const measuredNone = baseLosses.length === 0 && open.length === 0;
  if (!areStages(draw.task, stages, draw.available)) throw notDrawn(`stages of ${stages.slice(0, 12).join(", ") || "no"} sequences`);
  if (!measuredNone && !areOpenSequences(draw, open)) throw notDrawn("open sequences");
}

function notDrawn(what: string): ConnitoError {
  return new ConnitoError(`The evidence is not of what was drawn: its ${what} are not the cycle's`, {
    code: "evidence-not-drawn",
    exit: "verification",
    hint: "The validator that signed it made it with other rules, or lied; nothing follows from it. Look at the other scorers' reports.",
  });
}

function invalid(reason: string, cause?: unknown): ConnitoError {
  return new ConnitoError(`The evidence cannot be used: ${reason}`, {
    code: "evidence-invalid",
    exit: "verification",
    hint: "The validator that signed it made it with another version, or lied; look at the other scorers' reports.",
    cause,
  });
}

/** What follows from the losses by the rules: the validator's last judgement of a miner, computed again; undefined where nothing follows. */
export function judgeAgain(
  task: Evidence["task"],
  evidence: ScoreEvidence,
  { losses: candidateLosses }: MinerEvidence,
): Judgement | undefined {
  if (candidateLosses.length < 2 || evidence.baseLosses.length < candidateLosses.length) return undefined;
  let [stage, count] = [0, 0];
  while (count < candidateLosses.length && stage < evidence.stages.length) count += evidence.stages[stage++] as number;
  // Stages are measured whole.
  if (count !== candidateLosses.length) return undefined;
  const baseLosses = evidence.baseLosses.slice(0, count);
  return judge({ task, baseLosses, candidateLosses, stage, stages: evidence.stages });
}

/** Whether a status says what losses were measured; of the others no evidence can be shown. */
export function followsFromLosses(status: ReportEntry["status"]): boolean {
  return status === "accepted" || status === "no-gain" || paidByLosses(status);
}

/** Whether it says that the losses would be paid, were it not for whose training they show. */
function paidByLosses(status: ReportEntry["status"]): boolean {
  return status === "near-copy" || status === "not-trained";
}

/** The effects of own training that evidence shows, of those miners of its report who are of a group: what is asked is told from all of these. */
export function ownEffectsOf(entries: readonly ReportEntry[], { miners }: ScoreEvidence, group: number): Map<string, OwnEffect> {
  const members = new Set(entries.filter((entry) => entry.group === group).map(({ miner }) => miner));
  return new Map(miners.flatMap(({ miner, own }) => (own !== undefined && members.has(miner) ? [[miner, own] as const] : [])));
}

/** An effect beside what is asked of it, within its error; 0 where nothing is. */
export interface OwnShown extends OwnEffect {
  readonly asked: number;
}

export function ownShown(effects: ReadonlyMap<string, OwnEffect>, miner: string): OwnShown | undefined {
  const own = effects.get(miner);
  return own && { ...own, asked: askedOf([...effects.values()]) };
}

/** The miners of a report whose own training is too little by the effects that its evidence shows. */
export function littleTrained(task: Evidence["task"], entries: readonly ReportEntry[], evidence: ScoreEvidence): ReadonlySet<string> {
  if (task.evaluation.leastTraining === undefined) return new Set();
  const groups = new Set(entries.map(({ group }) => group));
  return new Set([...groups].flatMap((group) => [...whoShowLittle(ownEffectsOf(entries, evidence, group))]));
}

/**
 * Whether what a report says of a miner is what `judgeAgain` made of its evidence. A near copy would be accepted; so would who is not trained, and is
 * among the `little` (`littleTrained`), as no one is who is accepted.
 */
export function follows(
  { miner, status, score }: Pick<ReportEntry, "miner" | "status" | "score">,
  judged: Judgement | undefined,
  little: ReadonlySet<string>,
): boolean {
  if (little.has(miner) !== (status === "not-trained") && status !== "near-copy") return false;
  if (paidByLosses(status)) return judged?.status === "accepted";
  return judged?.status === status && judged.score === score;
}

/** The miners that a report judges, and whose judgement does not follow from the evidence, or has none. What was never measured needs none. */
export function unfounded(task: Evidence["task"], entries: readonly ReportEntry[], evidence: ScoreEvidence | undefined): string[] {
  const little = evidence === undefined ? new Set<string>() : littleTrained(task, entries, evidence);
  return entries.flatMap((entry) => {
    if (!followsFromLosses(entry.status)) return [];
    const shown = evidence?.miners.find(({ miner }) => miner === entry.miner);
    const judged = evidence && shown && judgeAgain(task, evidence, shown);
    return follows(entry, judged, little) ? [] : [entry.miner];
  });
}
