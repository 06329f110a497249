/**
 * How each validator's report of a cycle stands to what was agreed (docs/protocol.md, section 9): for people to look at, not for the
 * rules to decide by. Lazy reports differ everywhere, lying ones where it pays, and silence is silence.
 */
import type { AgreedScore } from "./agreement.ts";
import type { Hotkey } from "./hotkey.ts";
import type { ScoreReport } from "./report.ts";

/** Scores that differ by less than this part of the agreed one are alike: machines round differently, and stages may end differently. */
const alike = 0.1;

export interface Standing {
  readonly validator: Hotkey;
  /** Groups that it was drawn for. */
  readonly groups: readonly number[];
  /** `silent`: nothing on the chain in time; `withheld`: committed, and nobody delivers it; `agrees`, `differs`: against the agreed. */
  readonly standing: "silent" | "withheld" | "agrees" | "differs" | "not-drawn";
  /** Miners that it scored, and those of them that it says something else of than was agreed. */
  readonly scored: number;
  readonly differing: readonly Hotkey[];
}

/** One standing a validator, in the order given. */
export function standings(input: {
  readonly validators: readonly { readonly hotkey: Hotkey; readonly groups: readonly number[] }[];
  /** Validators whose report's hash stood on the chain in time. */
  readonly committed: ReadonlySet<Hotkey>;
  readonly reports: ReadonlyMap<Hotkey, ScoreReport>;
  readonly agreed: readonly AgreedScore[];
}): Standing[] {
  const agreed = new Map(input.agreed.map((entry) => [entry.miner, entry]));
  return input.validators.map(({ hotkey: validator, groups }) => {
    const report = input.reports.get(validator);
    if (groups.length === 0) return { validator, groups, standing: "not-drawn", scored: 0, differing: [] };
    if (report === undefined) {
      return { validator, groups, standing: input.committed.has(validator) ? "withheld" : "silent", scored: 0, differing: [] };
    }
    const scored = report.entries.filter(({ status }) => status !== "unscored");
    const differing = scored.filter((entry) => differs(entry, agreed.get(entry.miner))).map(({ miner }) => miner);
    return { validator, groups, standing: differing.length > 0 ? "differs" : "agrees", scored: scored.length, differing };
  });
}

function differs(own: AgreedScore, agreed: AgreedScore | undefined): boolean {
  if (agreed === undefined || agreed.status === "unscored") return false;
  if ((own.status === "accepted") !== (agreed.status === "accepted")) return true;
  return Math.abs(own.score - agreed.score) > alike * agreed.score;
}
