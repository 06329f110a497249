/**
 * The defaults of a task and the presets for its phase lengths. docs/protocol.md, section 2, says where the phase lengths come from.
 */
import type { Phase } from "./phases.ts";

/** Phase lengths in blocks, named by the cycle's length. */
export const phasePresets = {
  "45": { distribute: 5, train: 15, commit: 4, reveal: 5, score: 7, merge: 9 },
  "500": { distribute: 20, train: 300, commit: 20, reveal: 10, score: 80, merge: 70 },
} as const satisfies Record<string, Record<Phase, number>>;

export type PhasePreset = keyof typeof phasePresets;

/**
 * The shortest phases that can work when finality trails the head by two blocks. A reveal may be sent once the commit window is final
 * (two blocks in) and then needs a block to be included; scoring starts when the reveal window is final; a record that answers the
 * first block of its window stands in the second; a merge sees the reports final, then sends its ballot, then shows the root.
 */
export const shortestPhases: Readonly<Record<Phase, number>> = { distribute: 1, train: 1, commit: 2, reveal: 3, score: 3, merge: 5 };

/** What `inner.muon` has where a task's optimizer is Muon and its owner says no more. */
export const muonDefaults = {
  momentum: 0.95,
  nesterov: true,
  iterations: 5,
  coefficients: [3.4445, -4.775, 2.0315],
  updateSize: 0.2,
} as const;

/**
 * What `outer` has where a task's codec sends drawn places as signs and its owner says no more (docs/performance.md, Codecs). Every cycle draws others, and momentum
 * would go on moving what nobody trains now. Signs of the mean magnitude have two thirds of the length that the change has along them: so much longer is the step.
 */
export const outerOfPlaces = { learningRate: 1.5, momentum: 0 } as const;

/** On how many of the sequences of `evaluation.leastTraining` a submission is measured where its owner says no more (docs/performance.md, Own training). */
export const leastTrainingDrawn = 128;

/** What a task has where its owner says nothing. */
export const taskDefaults = {
  experts: { grouping: "even", selection: { score: "token", threshold: 0.2 } },
  data: { sequenceLength: 256 },
  inner: {
    optimizer: "adamw",
    learningRate: 3e-4,
    schedule: "linear",
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0.01,
    clipNorm: 1,
    batchSequences: 4,
    accumulation: 1,
  },
  outer: { optimizer: "nesterov", learningRate: 0.7, momentum: 0.9 },
  cycle: { phases: phasePresets["45"] },
  assignment: { missedCycles: 2 },
  submission: { codec: "dense-bf16", maximumBytes: 256 * 1024 * 1024 },
  evaluation: { sequencesPerDomain: 32, stages: 3, errorRate: 0.01, minimumScore: 1 },
  merge: { contributors: 8, method: "mean", tolerated: 0.25, normCap: 2, errorRate: 0.1, scales: [1, 0.7, 0.5, 0.25] },
  // 64 validators is the most that Subtensor permits by default: all score.
  validators: { minimumStake: "1000000000", scorers: 64 },
  weights: { window: 8 },
} as const;
