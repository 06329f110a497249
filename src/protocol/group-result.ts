/**
 * What a group's scorers make of its submissions (docs/protocol.md, section 9): who passed the gate, and the hash of the gradient they
 * add up to. The other validators take it from them instead of downloading every submission; where the scorers do not agree, everybody
 * computes it from the submissions, and who said otherwise is known.
 */
import * as v from "valibot";
import { ConnitoError } from "../errors.ts";
import { canonicalJson } from "./canonical.ts";
import { fields, type Hash, isHash, sha256 } from "./hash.ts";
import { type Hotkey, isHotkey } from "./hotkey.ts";

export interface GroupResult {
  readonly format: "connito/group-result/1";
  /** Task hash. */
  readonly task: Hash;
  readonly cycle: number;
  /** Version root that the cycle trained. */
  readonly base: Hash;
  readonly group: number;
  readonly validator: Hotkey;
  /** Who passed the gate, in merge order; empty when nobody did. */
  readonly contributors: readonly Hotkey[];
  /** Hash of the gradient: the group's tensors in canonical order, fp32 little-endian; null without contributors. */
  readonly gradient: Hash | null;
}

export interface SignedGroupResult {
  readonly result: GroupResult;
  /** sr25519 signature over `groupResultMessage(result)`: 128 hexadecimal digits. */
  readonly signature: string;
}

/** A file larger than this is no signed result of a group. */
export const maximumGroupResultBytes = 1_048_576;

/** The 32 bytes that the validator signs. */
export function groupResultMessage(result: GroupResult): Uint8Array {
  return sha256(fields("connito/group-result/1", canonicalJson(result)));
}

const schema = v.strictObject({
  result: v.strictObject({
    format: v.literal("connito/group-result/1"),
    task: v.custom<Hash>(isHash, "must be a hash"),
    cycle: v.number(),
    base: v.custom<Hash>(isHash, "must be a hash"),
    group: v.number(),
    validator: v.custom<Hotkey>(isHotkey, "must be a hotkey"),
    contributors: v.pipe(v.array(v.custom<Hotkey>(isHotkey, "must be a hotkey")), v.maxLength(65_536)),
    gradient: v.nullable(v.custom<Hash>(isHash, "must be a hash")),
  }),
  signature: v.pipe(v.string(), v.regex(/^[0-9a-f]{128}$/, "must be 128 lower-case hexadecimal digits")),
});

/** The signed result that a parsed JSON value is; the caller verifies the signature. Throws `group-result-invalid`. */
export function parseGroupResult(
  value: unknown,
  expected: Pick<GroupResult, "task" | "cycle" | "base" | "group" | "validator">,
): SignedGroupResult {
  const parsed = v.safeParse(schema, value, { abortEarly: true });
  if (!parsed.success) throw invalid(`${v.getDotPath(parsed.issues[0]) ?? "the document"}: ${parsed.issues[0].message}`);
  const { result } = parsed.output;
  for (const name of ["task", "cycle", "base", "group", "validator"] as const) {
    if (result[name] !== expected[name]) throw invalid(`its ${name} is ${result[name]}, not ${expected[name]}`);
  }
  if ((result.gradient === null) !== (result.contributors.length === 0))
    throw invalid("it has a gradient exactly when it has contributors");
  return parsed.output;
}

/** What two results have to agree in. */
export function sameOutcome(a: GroupOutcome, b: GroupOutcome): boolean {
  return a.gradient === b.gradient && a.contributors.join() === b.contributors.join();
}

export type GroupOutcome = Pick<GroupResult, "contributors" | "gradient">;

/**
 * The outcome that more than half of the stake of the group's scorers stands behind, counting those that say nothing, and none of them against; else
 * undefined: the submissions then decide.
 */
export function settledOutcome(
  results: readonly GroupResult[],
  scorers: readonly { readonly hotkey: Hotkey; readonly stake: bigint }[],
): GroupOutcome | undefined {
  const stakeOf = (list: typeof scorers) => list.reduce((sum, { stake }) => sum + stake, 0n);
  const said = results.filter(({ validator }) => scorers.some(({ hotkey }) => hotkey === validator));
  const behind = stakeOf(scorers.filter(({ hotkey }) => said.some(({ validator }) => validator === hotkey)));
  const [first] = said;
  if (first === undefined || said.some((result) => !sameOutcome(result, first))) return undefined;
  return 2n * behind > stakeOf(scorers) ? first : undefined;
}

function invalid(reason: string): ConnitoError {
  return new ConnitoError(`The group's result cannot be used: ${reason}`, {
    code: "group-result-invalid",
    exit: "verification",
    hint: "It counts as missing; the group is computed from its submissions if the other scorers do not suffice.",
  });
}
