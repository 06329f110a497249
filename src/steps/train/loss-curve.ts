/** The training loss of each step of a cycle, kept in the workspace so that anybody can look at a run, under way or over. */
import { namesIn, readJson, writeJson } from "../../workspace/files.ts";
import type { Workspace } from "../../workspace/workspace.ts";

export interface LossCurve {
  readonly cycle: number;
  /** One value a step, or for each report of a trainer that reports less often; nats per token. */
  readonly losses: readonly number[];
}

export interface LossRecorder {
  add(loss: number): void;
  /** A trainer's word for its loss at a step, from 1: it may go back to a step before, or report some steps only. */
  claim(step: number, loss: number): void;
  /** Copies the curve as it is now; `write` keeps it. */
  snapshot(): { write(): Promise<void> };
}

const fileName = "losses.json";
/** What a program claims is kept up to here: a curve of more is no curve. */
const mostClaims = 1_000_000;

/** Goes on after the first `steps` of what is kept: a run that was killed does the steps after its checkpoint again. */
export async function recordLosses(workspace: Workspace, cycle: number, steps = Number.POSITIVE_INFINITY): Promise<LossRecorder> {
  const file = workspace.layout.cycle(cycle, fileName);
  const losses = ((await readJson<number[]>(file)) ?? []).slice(0, steps);
  return {
    add: (loss) => void losses.push(loss),
    claim(step, loss) {
      if (step >= 1 && step <= losses.length) losses.length = step - 1;
      if (losses.length < mostClaims) losses.push(loss);
    },
    snapshot() {
      const copy = [...losses];
      return { write: () => writeJson(file, copy) };
    },
  };
}

/** The curve of a cycle, or of the newest that has one; undefined where there is none. */
export async function findLossCurve(workspace: Workspace, cycle?: number): Promise<LossCurve | undefined> {
  for (const candidate of cycle === undefined ? await trainedCycles(workspace) : [cycle]) {
    const losses = await readJson<number[]>(workspace.layout.cycle(candidate, fileName));
    if (losses !== undefined) return { cycle: candidate, losses };
  }
  return undefined;
}

/** Cycles with a directory, the newest first. */
async function trainedCycles({ layout }: Workspace): Promise<number[]> {
  const names = await namesIn(layout.cycles);
  return names
    .map(Number)
    .filter(Number.isSafeInteger)
    .sort((a, b) => b - a);
}
