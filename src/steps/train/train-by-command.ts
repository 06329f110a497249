/** `train` with the operator's program in the engine's place: what it is given, when it is told to stop, and what becomes of its result. */
import type { TrainingJob } from "../../external/job.ts";
import { listWeights } from "../../model/families/index.ts";
import { pieceName } from "../../model/pieces.ts";
import { windowOf } from "../../protocol/clock.ts";
import { hashFields, hashToBytes, u32 } from "../../protocol/hash.ts";
import { publicKeyOf } from "../../protocol/hotkey.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import type { TaskSequences } from "../task-data.ts";
import { awaitOpening, type Opening } from "../windows.ts";
import { removeJob, trainExternally } from "./external-training.ts";
import { difference, openGroupExperts, openTrainingData } from "./group-experts.ts";
import type { StoredSubmission } from "./submissions.ts";
import { submitDeltas } from "./submit.ts";

/** Shards of a domain that the program is given: others at another place of the seed. */
const shardsOfDomain = 16;
/** Sequences of each domain on which the result is measured again. */
const measuredSequences = 8;
/** A mainnet block, for the deadline that the job names; the end of the window itself is counted in blocks. */
const secondsPerBlock = 12;

/** @throws deadline-missed, and what `trainExternally` throws */
export async function trainByCommand(
  context: Context,
  membership: Membership,
  view: CycleView,
  input: {
    readonly cycle: number;
    readonly wait: boolean;
    readonly maximumSteps?: number;
    readonly command: readonly string[];
    readonly opening: Opening;
  },
): Promise<StoredSubmission & { alreadyDone: boolean; trainingSeconds: number; windowSeconds: number }> {
  const { workspace, clock, signal } = context;
  const { task, taskHash } = membership;
  const { cycle } = input;
  const experts = await openGroupExperts(context, membership, view);
  const { group, weights, selected } = experts;
  const { architecture, manifest } = experts.slice;
  const order = hashFields("connito/order/1", hashToBytes(taskHash), u32(cycle), publicKeyOf(context.signer.address));
  const seed = Number.parseInt(order.slice(0, 8), 16);
  const { data, sample } = await provideData(context, membership, await openTrainingData(context, membership, experts), seed);
  const directory = workspace.layout.cycle(cycle, "trainer");
  const { best } = await awaitOpening(clock, input.opening, { wait: input.wait, signal });

  const { last } = windowOf(task, cycle, "train");
  const finish = new AbortController();
  // A block early: what the program still has to write takes time as well.
  const stopWatching = clock.watch((heads) => {
    if (heads.best >= last - 1) finish.abort();
  });
  const started = performance.now();
  try {
    const { trained, steps, tokens, loss } = await trainExternally({
      ...{
        command: input.command,
        directory,
        task,
        taskHash,
        cycle,
        group,
        base: view.base,
        architecture,
        weights,
        selected,
        data,
        sample,
        seed,
      },
      config: await workspace.objects.read(manifest.config),
      tokenizer: await workspace.objects.read(manifest.tokenizer),
      shapes: new Map(listWeights(architecture).map(({ name, shape }) => [name, shape])),
      maximumSteps: input.maximumSteps,
      deadline: new Date(Date.now() + 1000 * secondsPerBlock * Math.max(0, last - 1 - best)),
      finish: finish.signal,
      signal,
      threads: context.threads,
      progress: context.progress,
    });
    const trainingSeconds = (performance.now() - started) / 1000;
    const deltas = selected.map((piece) => {
      const base = weights.get(pieceName(piece));
      return { piece, delta: difference(trained.get(pieceName(piece)) ?? base, base) };
    });
    const submission = await submitDeltas(context, membership, { cycle, group, base: view.base, steps, tokens, loss, deltas });
    await removeJob(directory);
    return { ...submission, alreadyDone: false, trainingSeconds, windowSeconds: trainingSeconds };
  } finally {
    stopWatching();
  }
}

/** Shards from the miner's own place on, where they lie, and sequences of them. */
async function provideData(
  { signal }: Context,
  { task }: Membership,
  domains: readonly TaskSequences[],
  seed: number,
): Promise<{ data: TrainingJob["data"]; sample: Int32Array[] }> {
  const data: TrainingJob["data"] = [];
  const sample: Int32Array[] = [];
  for (const [place, domain] of domains.entries()) {
    const { shards, dtype, sequences } = domain.data;
    for (let turn = 0; turn < Math.min(shardsOfDomain, shards.length); turn++) {
      signal.throwIfAborted();
      const shard = (seed + turn) % shards.length;
      const { hash: sha256, sequences: count } = shards[shard] as (typeof shards)[number];
      const { file, offset } = await domain.locate(shard);
      data.push({ domain: task.data.domains[place]?.name as string, file, offset, dtype, sequences: count, sha256 });
    }
    const first = ((seed % shards.length) * (shards[0]?.sequences ?? 0)) % sequences;
    for (let turn = 0; turn < Math.min(measuredSequences, sequences); turn++) sample.push(await domain.read((first + turn) % sequences));
    await domain.close();
  }
  return { data, sample };
}
