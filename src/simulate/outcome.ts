/** What came of a simulation: who earned what, what the model gained, and whether validators agreed. */
import type { Weight } from "../chain/client.ts";
import { cycleAt } from "../protocol/clock.ts";
import type { Context } from "../steps/context.ts";
import { viewCycle } from "../steps/cycle-view.ts";
import type { Measurement } from "../steps/evaluate/measure.ts";
import type { MergeResult } from "../steps/evaluate/merge.ts";
import type { Membership } from "../steps/membership.ts";
import { readJson } from "../workspace/files.ts";
import type { Player } from "./player.ts";
import type { World } from "./world.ts";

export interface PlayerOutcome {
  readonly name: string;
  readonly strategy: string;
  readonly role: "miner" | "validator";
  readonly honest: boolean;
  /** Of all that the subnet's honest validators' weights would pay at the end, by stake; 0 for validators. */
  readonly share: number;
  /** TAO behind a validator; 0 for miners. */
  readonly stake: number;
  /** By cycle: what honest validators agreed on of a miner; none for validators. */
  readonly statuses: readonly (string | undefined)[];
  /** Micro-nats per token, by cycle; none for validators. */
  readonly scores: readonly number[];
  /** By cycle: what there was to say against a validator, undefined where it was absent; none for miners. */
  readonly faults: readonly (readonly ValidatorFault[] | undefined)[];
  /** The steps that it could not do, and why. */
  readonly troubles: readonly { readonly cycle: number; readonly step: string; readonly code: string; readonly message: string }[];
}

/** No report that counted; a report or group result that honest validators found wrong; no vote on the version, or one against what was decided. */
export const validatorFaults = ["no report", "contradicted", "no vote", "outvoted"] as const;
export type ValidatorFault = (typeof validatorFaults)[number];

export interface SimulationOutcome {
  readonly players: readonly PlayerOutcome[];
  /** Mean loss of the canonical version that each cycle trains, nats per token, by cycle; one more than there are cycles. */
  readonly losses: readonly number[];
  /** By cycle: whether all honest validators that merged computed one root. */
  readonly agreed: readonly boolean[];
  /** By cycle: whether the version changed. */
  readonly moved: readonly boolean[];
}

export async function gatherOutcome({
  world,
  owner,
  membership,
  players,
  cycles,
}: {
  world: World;
  owner: Context;
  membership: Membership;
  players: readonly Player[];
  cycles: number;
}): Promise<SimulationOutcome> {
  const { hash } = await world.chain.bestHead();
  const shares = sharesOf(await world.chain.weights(owner.netuid, hash), players);
  const losses: number[] = [];
  const roots: string[] = [];
  for (let cycle = 0; cycle <= cycles; cycle++) {
    const measured = await readJson<Measurement>(owner.workspace.layout.cycle(cycle, "measurement.json"));
    const values = Object.values(measured?.loss ?? {});
    losses.push(values.reduce((sum, value) => sum + value, 0) / values.length);
    roots.push(measured?.root ?? "");
  }
  const honest = players.filter(({ strategy }) => strategy.role === "validator" && strategy.honest);
  const agreed: boolean[] = [];
  const merges: (MergeResult | undefined)[] = [];
  for (let cycle = 0; cycle < cycles; cycle++) {
    const results = await Promise.all(
      honest.map(({ context }) => readJson<MergeResult>(context.workspace.layout.cycle(cycle, "merge.json"))),
    );
    const known = results.filter((result) => result !== undefined);
    agreed.push(known.length > 0 && new Set(known.map(({ root }) => root)).size === 1);
    merges.push(known[0]);
  }
  const named = namedBy(honest, membership);
  const votes: Awaited<ReturnType<typeof votesOn>>[] = [];
  for (let cycle = 0; cycle < cycles; cycle++) votes.push(await votesOn(owner, membership, cycle));
  return {
    players: players.map(({ name, strategy, uid, stake = 0, from = 0, to = cycles - 1, context, events }) => {
      const hotkey = context.signer.address;
      const isMiner = strategy.role === "miner";
      const own = isMiner ? merges.map((merged) => merged?.verdicts.find(({ miner }) => miner === hotkey)) : [];
      const faultsOf = (merged: MergeResult | undefined, cycle: number): ValidatorFault[] | undefined => {
        if (cycle < from || cycle > to) return undefined;
        const found = {
          "no report": merged?.reporters.includes(hotkey) === false,
          contradicted: named.get(cycle)?.has(hotkey) === true,
          "no vote": votes[cycle]?.get(hotkey) === undefined,
          outvoted: votes[cycle]?.get(hotkey) === false,
        };
        return validatorFaults.filter((fault) => found[fault]);
      };
      return {
        name,
        strategy: strategy.name,
        role: strategy.role,
        honest: strategy.honest === true,
        share: shares.get(uid) ?? 0,
        stake,
        statuses: own.map((verdict) => verdict?.status),
        scores: own.map((verdict) => verdict?.score ?? 0),
        faults: isMiner ? [] : merges.map(faultsOf),
        troubles: events.flatMap(({ cycle, step, error }) => (error ? [{ cycle, step, code: error.code, message: error.message }] : [])),
      };
    }),
    losses,
    agreed,
    moved: agreed.map((_, cycle) => roots[cycle] !== roots[cycle + 1]),
  };
}

/** By cycle: whom these validators named for a report or a group's result that cannot be true. */
function namedBy(validators: readonly Player[], { task }: Membership): Map<number, Set<unknown>> {
  const named = new Map<number, Set<unknown>>();
  for (const { notes } of validators)
    for (const { block, fields } of notes) {
      const hotkeys =
        fields["code"] === "report-contradicted"
          ? [fields["validator"]]
          : fields["code"] === "group-result-differs"
            ? (fields["validators"] as string[])
            : [];
      const cycle = cycleAt(task, block) ?? 0;
      named.set(cycle, new Set([...(named.get(cycle) ?? []), ...hotkeys]));
    }
  return named;
}

/** Who voted at the end of a cycle, and whether for what came to stand. */
async function votesOn(owner: Context, membership: Membership, cycle: number): Promise<Map<string, boolean>> {
  const { base, participants } = await viewCycle(owner, membership, cycle + 1);
  return new Map(
    participants.validators.flatMap(({ hotkey, record }): [string, boolean][] =>
      record?.kind === "version" && record.cycle === cycle + 1 ? [[hotkey, record.root === base]] : [],
    ),
  );
}

/**
 * Each miner's part of the emission: for every miner the stake-weighted median of the rows, each scaled to sum to one, scaled to sum to one
 * again. (Yuma consensus clips to the same median; bonds, which pay validators, are left out.)
 */
function sharesOf(rows: ReadonlyMap<number, readonly Weight[]>, players: readonly Player[]): Map<number, number> {
  const scaled = [...rows].map(([uid, row]) => {
    const sum = row.reduce((total, { weight }) => total + weight, 0);
    return { stake: players[uid - 1]?.stake ?? 0, weights: new Map(row.map((one) => [one.uid, one.weight / sum])) };
  });
  const total = scaled.reduce((sum, { stake }) => sum + stake, 0);
  const medians = players.map(({ uid }) => {
    const values = scaled.map(({ stake, weights }) => ({ stake, weight: weights.get(uid) ?? 0 })).sort((a, b) => a.weight - b.weight);
    let median = 0;
    let stakeSoFar = 0;
    for (const { stake, weight } of values) {
      median = weight;
      stakeSoFar += stake;
      if (stakeSoFar * 2 >= total) break;
    }
    return [uid, median] as const;
  });
  const all = medians.reduce((sum, [, weight]) => sum + weight, 0);
  return new Map(medians.map(([uid, weight]) => [uid, all === 0 ? 0 : weight / all]));
}
