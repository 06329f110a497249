/** A miner's submission as a validator sees it: fetched under its root, decoded under what the task allows, added to the base. */

import { stat } from "node:fs/promises";
import { ConnitoError } from "../../errors.ts";
import type { Source } from "../../exchange/exchange.ts";
import { fetchArtifact } from "../../exchange/fetch-object.ts";
import { pieceName } from "../../model/pieces.ts";
import { openSubmission, SubmissionError } from "../../model/submission.ts";
import { keptIn, type Room, type Tensors } from "../../model/tensors.ts";
import { piecesOf } from "../../model/weights.ts";
import type { RevealRecord } from "../../protocol/records.ts";
import type { Status } from "../../protocol/verdict.ts";
import { moveDurably } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { selectExperts } from "../distribute/select-experts.ts";
import type { Slice } from "../distribute/slice.ts";
import { sourceAt } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { findSubmission, noteSubmission, submissionPath } from "../train/submissions.ts";

/** What became of a submission: its deltas by tensor name, all of which can be decoded, or the status that refuses it. */
export type Candidate = { readonly deltas: Tensors } | Refusal;

export interface Refusal {
  readonly status: Status;
  readonly reason: string;
}

/** What a submission is opened beside. */
interface Place {
  readonly view: CycleView;
  readonly slice: Slice;
  readonly room: Room;
}

/** Bytes of decoded submissions that stay in memory, so that each is decoded once; what is beyond is decoded each time it is needed. */
const decodedMemory = 512 * 2 ** 20;

export function roomForDecoded(): Room {
  return { bytes: decodedMemory };
}

/** Fetches (unless it is here; `otherSources` are asked after the miner) and decodes one revealed submission. Never throws for what the miner did, only for this machine's own trouble. */
export async function openCandidate(
  context: Context,
  membership: Membership,
  place: Place,
  hotkey: string,
  reveal: RevealRecord,
  otherSources: readonly Source[] = [],
): Promise<Candidate> {
  return (
    (await fetchCandidate(context, membership, place.view, { hotkey, reveal, otherSources })) ??
    openFetched(context, membership, place, reveal)
  );
}

/** Has a revealed submission here afterwards, or says what refuses it; otherwise as `openCandidate`. */
export async function fetchCandidate(
  context: Context,
  membership: Membership,
  view: CycleView,
  { hotkey, reveal, otherSources = [] }: { hotkey: string; reveal: RevealRecord; otherSources?: readonly Source[] | undefined },
): Promise<Refusal | undefined> {
  const { task } = membership;
  const root = reveal.artifactRoot;
  const file = submissionPath(context.workspace, root);
  // From here on this validator serves it too; a kill may have come before it could note so.
  const note = async () => noteSubmission(context.workspace, { root, cycle: view.cycle, bytes: (await stat(file)).size });
  if (await hasSubmission(context, reveal)) {
    if ((await findSubmission(context.workspace, root)) === undefined) await note();
    return undefined;
  }
  const into = context.workspace.layout.partialObject(reveal.artifactRoot);
  try {
    await fetchArtifact({
      sources: [sourceAt(context, reveal.locator, hotkey), ...otherSources],
      root: reveal.artifactRoot,
      path: `/submissions/${reveal.artifactRoot}`,
      into,
      maximumBytes: task.submission.maximumBytes,
      signal: context.signal,
    });
    await moveDurably(into, file);
    await note();
    return undefined;
  } catch (error) {
    if (context.signal.aborted || !(error instanceof ConnitoError)) throw error;
    const status = fetchStatus[error.code];
    if (status === undefined) throw error;
    return { status, reason: error.message };
  }
}

/** Decodes a revealed submission that is here. */
export async function openFetched(
  context: Context,
  membership: Membership,
  { slice, view, room }: Place,
  reveal: RevealRecord,
): Promise<Candidate> {
  const { task, taskHash } = membership;
  const selected = await selectExperts(context, membership, slice.manager, reveal.group);
  const expected = piecesOf(slice.manifest, "expert", selected).map((piece) => ({ name: pieceName(piece), shape: piece.shape }));
  try {
    const submission = await openSubmission(submissionPath(context.workspace, reveal.artifactRoot), {
      metadata: { task: taskHash, cycle: view.cycle, group: reveal.group, base: view.base },
      codec: task.submission.codec,
      tensors: expected,
      maximumBytes: task.submission.maximumBytes,
    });
    const deltas = keptIn(room, submission);
    for (const name of deltas.sizes.keys()) await deltas.read(name);
    return { deltas };
  } catch (error) {
    if (error instanceof SubmissionError) return { status: error.status, reason: error.message };
    throw error;
  }
}

/** Which failures to fetch are the miner's, and what they are called. All others are this machine's trouble. */
const fetchStatus: Readonly<Record<string, Status>> = {
  "peer-unreachable": "unreachable",
  "object-not-found": "unreachable",
  "request-refused": "unreachable",
  "object-hash-mismatch": "artifact-mismatch",
  "object-oversize": "malformed",
};

/** Whether a revealed submission has been fetched, or made, here. */
export function hasSubmission({ workspace }: Pick<Context, "workspace">, { artifactRoot }: RevealRecord): Promise<boolean> {
  return stat(submissionPath(workspace, artifactRoot)).then(
    () => true,
    () => false,
  );
}
