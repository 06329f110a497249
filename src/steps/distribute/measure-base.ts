/**
 * What the base's experts do on the task's domains, measured once: it takes hours for a large model. What was measured of the same base, on the same
 * sequences, is taken as it is, after a stop as after a dry run.
 */
import * as v from "valibot";
import { openSequences } from "../../data/sequence-reader.ts";
import type { Location } from "../../files/reading.ts";
import { manifestRoot } from "../../model/manifest.ts";
import { documentHash } from "../../protocol/canonical.ts";
import { parseRouterStatistics, type RouterStatistics } from "../../protocol/experts/router-statistics.ts";
import { type Hash, sha256, toHex } from "../../protocol/hash.ts";
import { readJson, writeAtomic } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import type { PreparedDomain } from "./prepare-data.ts";
import { type MeasuredModel, measureExperts, type Sample, sampleShare } from "./select-experts.ts";

/** Of 61 layers with 256 experts, counts of pairs take some 15 MB a domain. */
const maximumBytes = 256 * 2 ** 20;

export interface Measurement {
  readonly statistics: RouterStatistics;
  /** Seconds that a forward pass of one sequence took, on all threads: the pace of what is measured later. */
  readonly lossSeconds: number;
}

const kept = v.object({ lossSeconds: v.pipe(v.number(), v.minValue(0)), statistics: v.unknown() });

/** The measurement, from the workspace or made now and kept there. Throws what `measureExperts` throws. */
export async function measureBase(
  { workspace, progress }: Pick<Context, "workspace" | "progress">,
  measured: MeasuredModel,
): Promise<Measurement> {
  const file = workspace.layout.measurement(measurementId(measured));
  const known = await readJson(file, maximumBytes);
  if (known !== undefined) {
    progress.note("The experts were measured before on the same sequences.");
    const { lossSeconds, statistics } = v.parse(kept, known);
    return { lossSeconds, statistics: parseRouterStatistics(statistics) };
  }
  const started = performance.now();
  const statistics = await measureExperts(measured, progress);
  const sequences = measured.sample.reduce((sum, one) => sum + one.sequences.length, 0);
  const measurement = { lossSeconds: (performance.now() - started) / 1000 / sequences, statistics };
  await writeAtomic(file, [JSON.stringify(measurement)]);
  return measurement;
}

/** Everything that follows from a measurement follows from what this names: the base, the sequences and their length. */
export function measurementId({ indexed, sample, sequenceLength }: MeasuredModel): Hash {
  const hashOf = (sequences: readonly Int32Array[]) =>
    toHex(sha256(...sequences.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength))));
  const domains = sample.map(({ name, sequences }) => ({ name, sequences: hashOf(sequences) }));
  return documentHash({ format: "connito/measurement/1", base: manifestRoot(indexed.manifest), sequenceLength, domains });
}

/** The first sequences of each domain's training data, equal shares. */
export async function sampleShards(
  { objects }: Context["workspace"],
  domains: readonly PreparedDomain[],
  sampleTokens: number | undefined,
): Promise<Sample> {
  const sample: { name: string; sequences: Int32Array[] }[] = [];
  for (const { name, train } of domains) {
    const reader = openSequences(train, async (shard) => (await objects.locate(train.shards[shard]?.hash ?? "")) as Location);
    try {
      const count = Math.min(train.sequences, sampleShare(domains.length, train.sequenceLength, sampleTokens));
      const sequences: Int32Array[] = [];
      while (sequences.length < count) sequences.push(await reader.read(sequences.length));
      sample.push({ name, sequences });
    } finally {
      await reader.close();
    }
  }
  return sample;
}
