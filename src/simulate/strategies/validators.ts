/** What validators may try: honest work, laziness, lies, and votes for versions that nobody computed. */
import { roles } from "../../cycle/roles.ts";
import { votingWindows, windowOf } from "../../protocol/clock.ts";
import { ballotHash } from "../../protocol/commitment.ts";
import { hashFields, u32, utf8 } from "../../protocol/hash.ts";
import { encodeRecord } from "../../protocol/records.ts";
import { createReport, type ReportEntry } from "../../protocol/report.ts";
import type { ChainVerdict } from "../../protocol/verdict.ts";
import { recordsAt } from "../../steps/chain-records.ts";
import { viewCycle } from "../../steps/cycle-view.ts";
import { sendVersion } from "../../steps/distribute/announce.ts";
import { encodeEvidence } from "../../steps/evaluate/evidence.ts";
import { sendReport, signReport } from "../../steps/evaluate/reports.ts";
import { groupsOf, scorersOf } from "../../steps/evaluate/validators.ts";
import { readVerdicts } from "../../steps/evaluate/verdicts.ts";
import { requireLocator } from "../../steps/publish.ts";
import { sendRecord } from "../../steps/send-record.ts";
import { afterFinalized, awaitOpening } from "../../steps/windows.ts";
import { type RunStep, replacing, type Strategy, type StrategyScene } from "./strategy.ts";

export const honestValidator: Strategy = {
  name: "honest-validator",
  role: "validator",
  summary: "scores, merges, sets weights",
  honest: true,
  steps: () => roles.validator,
};

/** Reports on its groups without measuring anything: what it says of each submission that was revealed. */
export const reporting =
  (say: (verdict: ChainVerdict) => Pick<ReportEntry, "status" | "score">): RunStep =>
  async (context, membership, { cycle }) => {
    const { task, taskHash } = membership;
    const opening = afterFinalized("Scoring", cycle, windowOf(task, cycle, "reveal").last);
    await awaitOpening(context.clock, opening, { wait: true, signal: context.signal });
    const view = await viewCycle(context, membership, cycle);
    const groups = groupsOf(await scorersOf(context, membership, view), context.signer.address);
    const { verdicts } = await readVerdicts(context, membership, view);
    const entries = verdicts
      .filter(({ group }) => groups.includes(group))
      .map((verdict): ReportEntry => {
        const { miner, group, root } = verdict;
        const said = verdict.status === "to-fetch" ? say(verdict) : { status: verdict.status, score: 0 };
        return { miner, group, root, ...said };
      });
    const evidence = await context.workspace.objects.put(encodeEvidence({ stages: [], baseLosses: [], open: [], miners: [] }));
    const report = createReport({ task: taskHash, cycle, base: view.base, validator: context.signer.address, evidence, entries });
    await signReport(context, report);
    await sendReport(context, membership, report);
    return report;
  };

export const validatorAttacks: readonly Strategy[] = [
  {
    name: "lazy",
    role: "validator",
    summary: "calls every submission equally good, unmeasured",
    steps: () => replacing(roles.validator, { score: reporting(() => ({ status: "accepted", score: 1000 })) }),
  },
  {
    name: "liar",
    role: "validator",
    summary: "says that its own miner is best and everybody else gained nothing",
    leaks: 1,
    steps: ({ leaks }: StrategyScene) =>
      replacing(roles.validator, {
        score: reporting(({ miner }) =>
          miner === leaks[0]?.signer.address ? { status: "accepted", score: 1_000_000_000 } : { status: "no-gain", score: 0 },
        ),
      }),
  },
  {
    name: "copier",
    role: "validator",
    summary: "puts the hash of another's report on the chain instead of scoring",
    steps: () =>
      replacing(roles.validator, {
        score: async (context, membership, { cycle }) => {
          const { first, last } = windowOf(membership.task, cycle, "score");
          for (;;) {
            const { best } = await context.clock.until((heads) => heads.best >= first, context.signal);
            const records = await recordsAt(context.chain, context.netuid, (await context.chain.bestHead()).hash);
            const found = records.find(({ record }) => record.kind === "report" && record.cycle === cycle)?.record;
            if (found?.kind === "report") {
              const record = encodeRecord({ ...found, locator: requireLocator(context, "report") });
              return context.chain.setCommitment(context.signer, context.netuid, record, { until: last, signal: context.signal });
            }
            if (best >= last) return { cycle };
            await context.clock.until((heads) => heads.best > best, context.signal);
          }
        },
      }),
  },
  {
    name: "hiding",
    role: "validator",
    summary: "scores and commits to its report, then neither shows it nor merges",
    steps: () => replacing(roles.validator, { merge: async (_context, _membership, { cycle }) => ({ cycle }) }),
  },
  {
    name: "wrong-root",
    role: "validator",
    summary: "votes for a version that nobody computed",
    steps: () =>
      replacing(roles.validator, {
        merge: async (context, membership, { cycle }) => {
          const { task, taskHash } = membership;
          const { ballot, version } = votingWindows(task, cycle);
          const view = await viewCycle(context, membership, cycle);
          await context.clock.until(({ best }) => best >= ballot.first, context.signal);
          const named = {
            cycle: cycle + 1,
            previousRoot: view.base,
            root: hashFields("connito/simulation-root/1", utf8(view.base), u32(cycle)),
          };
          const hash = ballotHash({ netuid: context.netuid, taskHash, hotkey: context.signer.address, ...named });
          const record = encodeRecord({
            kind: "ballot",
            cycle: cycle + 1,
            base: view.base,
            ballot: hash,
            locator: requireLocator(context, "ballot"),
          });
          await sendRecord(context, { key: `ballot/${cycle + 1}`, prepare: async () => ({ record, notes: {} }), until: ballot.last });
          await context.clock.until(({ best }) => best >= ballot.last, context.signal);
          return sendVersion(context, { ...named, until: version.last });
        },
      }),
  },
  {
    name: "silent",
    role: "validator",
    summary: "has a permit, and does nothing",
    steps: () => [],
  },
];
