/**
 * A validator's report of one cycle (docs/protocol.md, section 9): a status and a score for each assigned miner, signed. A report
 * arrives from another participant, so it is checked against what the chain already says before anything is done with it.
 */
import * as v from "valibot";
import { ConnitoError } from "../errors.ts";
import { canonicalJson } from "./canonical.ts";
import { largestScore } from "./evaluation.ts";
import { fields, type Hash, isHash, sha256 } from "./hash.ts";
import { type Hotkey, isHotkey } from "./hotkey.ts";
import { isStatus, type Status } from "./verdict.ts";

export interface ReportEntry {
  readonly miner: Hotkey;
  readonly group: number;
  readonly status: Status;
  /** Whole micro-nats per token; 0 unless accepted. */
  readonly score: number;
  /** The artifact root revealed, `null` where none was. */
  readonly root: Hash | null;
}

export interface ScoreReport {
  readonly format: "connito/report/1";
  /** Task hash. */
  readonly task: Hash;
  readonly cycle: number;
  /** Version root that the cycle trained. */
  readonly base: Hash;
  readonly validator: Hotkey;
  /** Hash of the validator's evidence: the losses that the scores follow from. */
  readonly evidence: Hash;
  /** The miners of the groups that the validator was drawn for. Rising by miner, each once. */
  readonly entries: readonly ReportEntry[];
}

export interface SignedReport {
  readonly report: ScoreReport;
  /** sr25519 signature over `reportMessage(report)`: 128 hexadecimal digits. */
  readonly signature: string;
}

/** A file larger than this is no signed report: room for 65,536 miners would need twice as much, a subnet has 256. */
export const maximumReportBytes = 8 * 1_048_576;

/** The 32 bytes that the validator signs. */
export function reportMessage(report: ScoreReport): Uint8Array {
  return sha256(fields("connito/report/1", canonicalJson(report)));
}

/** A report with its entries in order. */
export function createReport(report: Omit<ScoreReport, "format">): ScoreReport {
  const entries = [...report.entries].sort((a, b) => (a.miner < b.miner ? -1 : 1));
  const { task, cycle, base, validator, evidence } = report;
  return { format: "connito/report/1", task, cycle, base, validator, evidence, entries };
}

/** What the reader knows already, from the task and the chain. */
export interface ReportExpectations {
  readonly task: Hash;
  readonly cycle: number;
  readonly base: Hash;
  readonly validator: Hotkey;
  /** The group of each miner that is assigned to a group which the validator was drawn for. */
  readonly assigned: ReadonlyMap<Hotkey, number>;
}

const hash = v.pipe(
  v.string(),
  v.check((text) => isHash(text), "must be a hash"),
);
const hotkey = v.pipe(
  v.string(),
  v.check((text) => isHotkey(text), "must be a hotkey"),
);
const whole = (most: number) => v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(most));

const entrySchema = v.pipe(
  v.strictObject({
    miner: hotkey,
    group: whole(0xffff),
    status: v.custom<Status>(isStatus, "must be a status"),
    score: whole(largestScore),
    root: v.nullable(hash),
  }),
  v.check(({ status, score }) => (status === "accepted" ? score > 0 : score === 0), "must have a score exactly when it is accepted"),
  v.check(
    ({ status, root }) => status === "unscored" || (root === null) === (status === "not-committed" || status === "not-revealed"),
    "must have a root exactly when one was revealed",
  ),
);

const reportSchema = v.strictObject({
  format: v.literal("connito/report/1"),
  task: hash,
  cycle: whole(0xffff_ffff),
  base: hash,
  validator: hotkey,
  evidence: hash,
  entries: v.pipe(v.array(entrySchema), v.maxLength(0x1_0000)),
});

const signedSchema = v.strictObject({
  report: v.unknown(),
  signature: v.pipe(v.string(), v.regex(/^[0-9a-f]{128}$/, "must be 128 lower-case hexadecimal digits")),
});

function invalid(reason: string): ConnitoError {
  return new ConnitoError(`The report cannot be used: ${reason}`, {
    code: "report-invalid",
    exit: "verification",
    hint: "The validator that signed it has to make it again; it is left out of the agreement until then.",
  });
}

function parsed<Schema extends v.GenericSchema>(schema: Schema, value: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw invalid(`${v.getDotPath(issue) ?? "the document"}: ${issue.message}`);
}

/** The report that a parsed JSON value is. Throws `report-invalid` when it is none, or not of the cycle and validator expected. */
export function parseReport(value: unknown, expected: ReportExpectations): ScoreReport {
  if (typeof value === "object" && value !== null && "entries" in value && Array.isArray(value.entries)) {
    if (value.entries.length > expected.assigned.size)
      throw invalid(`${value.entries.length} entries for ${expected.assigned.size} miners`);
  }
  const report: ScoreReport = parsed(reportSchema, value);
  for (const name of ["task", "cycle", "base", "validator"] as const) {
    if (report[name] !== expected[name]) throw invalid(`its ${name} is ${report[name]}, not ${expected[name]}`);
  }
  report.entries.forEach(({ miner, group }, index) => {
    const before = report.entries[index - 1]?.miner;
    if (before !== undefined && before >= miner) throw invalid("its entries do not rise by miner");
    if (expected.assigned.get(miner) !== group) throw invalid(`${miner} is not for this validator to score in group ${group}`);
  });
  return report;
}

/** A report with its signature, which the caller verifies. Throws `report-invalid`. */
export function parseSignedReport(value: unknown, expected: ReportExpectations): SignedReport {
  const { report, signature } = parsed(signedSchema, value);
  return { report: parseReport(report, expected), signature };
}
