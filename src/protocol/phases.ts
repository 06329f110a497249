/** The phases of a cycle, in order. Apart from the clock so that the task's schema can name them without a circle. */
export const phases = ["distribute", "train", "commit", "reveal", "score", "merge"] as const;

export type Phase = (typeof phases)[number];
