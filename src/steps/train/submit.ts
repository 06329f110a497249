/** From trained experts to the submission of a cycle: encoded, hashed, in its place, and noted. */

import type { Piece } from "../../model/pieces.ts";
import { pieceName } from "../../model/pieces.ts";
import { encodeSubmission } from "../../model/submission.ts";
import { moveDurably } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import type { Membership } from "../membership.ts";
import { type StoredSubmission, storeSubmission, type Timing } from "./submissions.ts";

export interface SubmitInput extends Omit<StoredSubmission, "root" | "bytes" | "timing"> {
  readonly timing?: Omit<Timing, "submitting">;
  /** New minus base of each selected expert tensor, in canonical order. */
  readonly deltas: readonly { readonly piece: Piece; readonly delta: Float32Array }[];
}

/** Killed in between, it leaves nothing that counts: the submission exists once it is noted. @throws SubmissionError for deltas that are not finite */
export async function submitDeltas({ workspace }: Context, { task, taskHash }: Membership, input: SubmitInput): Promise<StoredSubmission> {
  const { deltas, timing, ...facts } = input;
  const started = performance.now();
  const path = workspace.layout.cycle(facts.cycle, "submission.safetensors");
  const { root, bytes } = await encodeSubmission({
    path,
    metadata: { task: taskHash, cycle: facts.cycle, group: facts.group, base: facts.base },
    codec: task.submission.codec,
    tensors: deltas.map(({ piece, delta }) => ({ name: pieceName(piece), shape: piece.shape, delta })),
  });
  await moveDurably(path, workspace.layout.submission(root));
  const submitting = (performance.now() - started) / 1000;
  const submission = { ...facts, root, bytes, ...(timing === undefined ? {} : { timing: { ...timing, submitting } }) };
  await storeSubmission(workspace, submission);
  return submission;
}
