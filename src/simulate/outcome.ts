/** What came of a simulation: who earned what, what the model gained, and whether validators agreed. */
import type { Weight } from "../chain/client.ts";
import type { Context } from "../steps/context.ts";
import type { Measurement } from "../steps/evaluate/measure.ts";
import type { MergeResult } from "../steps/evaluate/merge.ts";
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
  /** By cycle: what honest validators agreed on. */
  readonly statuses: readonly (string | undefined)[];
  /** Micro-nats per token, by cycle. */
  readonly scores: readonly number[];
  /** The steps that it could not do, and why. */
  readonly troubles: readonly { readonly cycle: number; readonly step: string; readonly code: string; readonly message: string }[];
}

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
  players,
  cycles,
}: {
  world: World;
  owner: Context;
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
  const verdicts: (MergeResult["verdicts"] | undefined)[] = [];
  for (let cycle = 0; cycle < cycles; cycle++) {
    const results = await Promise.all(
      honest.map(({ context }) => readJson<MergeResult>(context.workspace.layout.cycle(cycle, "merge.json"))),
    );
    const known = results.filter((result) => result !== undefined);
    agreed.push(known.length > 0 && new Set(known.map(({ root }) => root)).size === 1);
    verdicts.push(known[0]?.verdicts);
  }
  return {
    players: players.map(({ name, strategy, uid, context, events }) => {
      const own = verdicts.map((list) => list?.find(({ miner }) => miner === context.signer.address));
      return {
        name,
        strategy: strategy.name,
        role: strategy.role,
        honest: strategy.honest === true,
        share: shares.get(uid) ?? 0,
        statuses: own.map((verdict) => verdict?.status),
        scores: own.map((verdict) => verdict?.score ?? 0),
        troubles: events.flatMap(({ cycle, step, error }) => (error ? [{ cycle, step, code: error.code, message: error.message }] : [])),
      };
    }),
    losses,
    agreed,
    moved: agreed.map((_, cycle) => roots[cycle] !== roots[cycle + 1]),
  };
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
