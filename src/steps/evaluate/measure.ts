/** The owner's watch: the canonical version's loss on a part of every domain's held-out data that nothing else is measured on, always the same. */

import { ConnitoError } from "../../errors.ts";
import { domainLosses } from "../../protocol/gate.ts";
import { placesOf } from "../../protocol/held-out.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import { viewBlock, viewCycle } from "../cycle-view.ts";
import { pruneVersions } from "../distribute/prune.ts";
import { pruneCycles } from "../distribute/prune-cycles.ts";
import type { Membership } from "../membership.ts";
import { afterFinalized, awaitOpening } from "../windows.ts";
import { provideHeldOut } from "./held-out.ts";
import { openWholeModel } from "./losses.ts";

export interface Measurement {
  /** The cycle that trains this version. */
  readonly cycle: number;
  readonly root: string;
  /** Mean loss by domain name, nats per token. */
  readonly loss: Readonly<Record<string, number>>;
  readonly sequences: number;
}

/** Sequences measured in each domain: enough for a stable mean, few enough for a laptop. */
const measuredSequences = 128;

/** Measures the version that a cycle trains, once. @throws phase-not-open while that version is not final on the chain. */
export async function measure(context: Context, membership: Membership, input: { cycle: number; wait: boolean }): Promise<Measurement> {
  const { workspace } = context;
  const file = workspace.layout.cycle(input.cycle, "measurement.json");
  const known = await readJson<Measurement>(file);
  if (known !== undefined) return known;
  await awaitOpening(context.clock, afterFinalized("Measuring", input.cycle, viewBlock(membership, input.cycle)), {
    wait: input.wait,
    signal: context.signal,
  });
  const view = await viewCycle(context, membership, input.cycle);
  const previous = input.cycle > 0 ? await readJson<Measurement>(workspace.layout.cycle(input.cycle - 1, "measurement.json")) : undefined;
  if (previous?.root === view.base) {
    const unchanged = { ...previous, cycle: input.cycle };
    await writeJson(file, unchanged);
    return unchanged;
  }
  const opened = await openWholeModel(context, membership, view.base);
  try {
    const { available, read } = await provideHeldOut(context, membership, opened.slice);
    const sequences = await read(
      available.flatMap((count, domain) =>
        placesOf("watch", count)
          .slice(0, measuredSequences)
          .map((index) => ({ domain, index })),
      ),
    );
    const means = domainLosses((await opened.losses(sequences)).base, sequences, available.length);
    const loss = Object.fromEntries(membership.task.data.domains.map(({ name }, domain) => [name, (means[domain] ?? Number.NaN) / 1e6]));
    if (!Object.values(loss).every(Number.isFinite)) {
      throw new ConnitoError(`Version ${view.base} has no finite loss on every domain: ${JSON.stringify(loss)}.`, {
        code: "loss-not-finite",
        exit: "verification",
        hint: "Look at the held-out data and at the weights of this version.",
      });
    }
    const measurement = { cycle: input.cycle, root: view.base, loss, sequences: sequences.length };
    await writeJson(file, measurement);
    await pruneVersions(context, membership, { root: view.base });
    await pruneCycles(context, input.cycle);
    return measurement;
  } finally {
    await opened.close();
  }
}
