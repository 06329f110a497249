/**
 * A strategy is what a participant does in place of the honest steps. It is given the same doors as anybody: chain, peers, its own state directory;
 * and, where it has accomplices or a leak, the state directories of those that it names.
 */
import type { CycleStep } from "../../cycle/roles.ts";
import type { Context } from "../../steps/context.ts";

export interface StrategyScene {
  /** Optimizer steps of this participant's training: its skill and its effort. */
  readonly trainingSteps: number;
  /** The doors of the participants that it may look into, in the order in which the cast names them. */
  readonly leaks: readonly Context[];
}

export interface Strategy {
  readonly name: string;
  readonly role: "miner" | "validator";
  /** What it does, for tables. */
  readonly summary: string;
  readonly honest?: true;
  /** How many honest participants it looks into; or it looks into all of its own kind, itself included. */
  readonly leaks?: number | "own kind";
  steps(scene: StrategyScene): readonly CycleStep[];
}

export type RunStep = CycleStep["run"];

/** The steps with some replaced, by name. */
export function replacing(steps: readonly CycleStep[], replaced: Readonly<Record<string, RunStep>>): readonly CycleStep[] {
  return steps.map((step) => ({ ...step, run: replaced[step.name] ?? step.run }));
}
