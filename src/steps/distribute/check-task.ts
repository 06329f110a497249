/** What can be said against a task before anything slow is done for it, or before it is shown: rules that cannot be, and bytes that nobody could send. */
import { ConnitoError } from "../../errors.ts";
import { codecs } from "../../model/codecs/index.ts";
import type { Manifest } from "../../model/manifest.ts";
import { pieceName } from "../../model/pieces.ts";
import { submissionBytes as bytesOfSubmission } from "../../model/submission.ts";
import { piecesOf } from "../../model/weights.ts";
import { type ExpertScores, selectForGroup } from "../../protocol/experts/esft.ts";
import type { ExpertManager } from "../../protocol/experts/expert-manager.ts";
import { hashFields, utf8 } from "../../protocol/hash.ts";
import type { Task, TaskOverrides } from "../../protocol/task.ts";
import { createTask as composeTask } from "../../protocol/task.ts";
import { formatBytes } from "../../ui/format.ts";
import type { Context } from "../context.ts";
import { spaceNeeded } from "../record-space.ts";

/** What the owner wrote. */
interface Draft {
  readonly name: string;
  readonly groups: number;
  readonly domains: readonly { readonly name: string }[];
  readonly overrides: TaskOverrides;
}

/** The task, with stand-ins for what is not made yet. @throws task-invalid */
export function draftTask({ netuid }: Context, { name, groups, domains, overrides }: Draft): Task {
  const hash = (text: string) => hashFields("connito/draft/1", utf8(text));
  return composeTask(
    {
      name,
      netuid,
      model: { root: hash("model"), standIns: hash("stand-ins") },
      groups,
      scores: hash("scores"),
      domains: domains.map((domain, index) => ({ name: domain.name, train: hash(`train ${index}`), heldOut: hash(`held-out ${index}`) })),
      startBlock: 1,
    },
    overrides,
  );
}

/** Says so where a validator's records, with an address like the owner's, can be more than the chain takes in an epoch: some would miss their windows. */
export async function noteScarceSpace({ chain, netuid, signer, locator, progress }: Context, task: Task): Promise<void> {
  const { hash } = await chain.finalizedHead();
  const [{ tempo }, { limit }] = await Promise.all([chain.hyperparameters(netuid, hash), chain.space(netuid, signer.address, hash)]);
  const { bytes } = spaceNeeded(task, { role: "validator", locator, tempo });
  if (bytes <= limit) return;
  const found = `A validator's records can take ${bytes} bytes in an epoch of ${tempo + 1} blocks, of which the chain takes ${limit}`;
  progress.note(`${found}: give the cycles more blocks, or the validators shorter addresses.`, { code: "space-scarce" });
}

/** What the largest group's submission takes in each codec. @throws submission-too-large where all would be refused in the task's own */
export function largestSubmissions(task: Task, manifest: Manifest, manager: ExpertManager, scores: ExpertScores): Record<string, number> {
  const trained = Array.from({ length: manager.groups }, (_, group) =>
    piecesOf(manifest, "expert", selectForGroup(scores, manager, group, task.experts.selection)).map((piece) => ({
      name: pieceName(piece),
      shape: piece.shape,
    })),
  );
  const sizes = Object.fromEntries(
    codecs.map(({ name }) => [name, Math.max(...trained.map((tensors) => bytesOfSubmission(name, tensors)))]),
  );
  const { codec, maximumBytes } = task.submission;
  if ((sizes[codec] as number) <= maximumBytes) return sizes;
  const others = Object.entries(sizes).map(([name, bytes]) => `${name} ${formatBytes(bytes)}`);
  throw new ConnitoError(
    `Submissions can have ${formatBytes(sizes[codec] as number)}, and submission.maximumBytes allows ${formatBytes(maximumBytes)}: honest work would be refused.`,
    {
      code: "submission-too-large",
      exit: "invalidInput",
      hint: `Choose another submission.codec (${others.join(", ")}), a lower experts.selection.threshold, more groups, or more bytes.`,
    },
  );
}
