/** Whether a miner went through as much of its walk as the task asks for (docs/protocol.md, section 8, own training). */
import { formatCount } from "../../ui/format.ts";
import type { Progress } from "../../ui/progress.ts";

/** Tells who trained on too little while the next cycle can still be better. `asked` is 0 where the task asks for nothing. */
export function noteLittleTraining(progress: Progress, { trained, asked }: { readonly trained: number; readonly asked: number }): void {
  if (trained >= asked) return;
  progress.note(
    `Trained on ${formatCount(trained)} of the ${formatCount(asked)} sequences that the task wants learned in a cycle: the submission may be found not-trained, and not be paid. Use the whole train window (--wait, no --max-steps), more --threads, a faster machine, or a program of your own on a GPU (--backend command).`,
    { code: "too-little-training", trained, asked },
  );
}
