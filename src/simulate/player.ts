/** Who takes part in a simulation: as it is cast, and as it plays. */
import type { StepEvent } from "../cycle/runner.ts";
import type { Context } from "../steps/context.ts";
import type { Strategy } from "./strategies/strategy.ts";

export interface CastMember {
  readonly name: string;
  readonly strategy: Strategy;
  /** TAO behind a validator. */
  readonly stake?: number;
  /** Optimizer steps of a miner's training in a cycle. */
  readonly trainingSteps?: number;
  /** The participants that its strategy looks into, by name. */
  readonly leaks?: readonly string[];
  /** The first and the last cycle that it takes part in. */
  readonly from?: number;
  readonly to?: number;
}

/** What a participant was told beside its steps, and at which block. */
export interface Note {
  readonly block: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Player extends CastMember {
  readonly context: Context;
  readonly uid: number;
  readonly events: StepEvent[];
  readonly notes: Note[];
}
