/**
 * What the base's experts do on the task's domains, measured once: it takes hours for a large model. What was measured of the same base, on the same
 * sequences, is taken as it is, after a stop as after a dry run.
 */
import { createHash } from "node:crypto";
import * as v from "valibot";
import { openSequences } from "../../data/sequence-reader.ts";
import { ConnitoError } from "../../errors.ts";
import type { Location } from "../../files/reading.ts";
import { manifestRoot } from "../../model/manifest.ts";
import { documentHash } from "../../protocol/canonical.ts";
import { parseRouterStatistics, type RouterStatistics } from "../../protocol/experts/router-statistics.ts";
import type { Hash } from "../../protocol/hash.ts";
import { readJson, writeAtomic } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import type { PreparedDomain } from "./prepare-data.ts";
import { type MeasuredModel, measureExperts, type Sample, sampleShare } from "./select-experts.ts";

/** Of 61 layers with 256 experts, counts of pairs take some 15 MB a domain. */
const maximumBytes = 256 * 2 ** 20;

export interface Measurement {
  readonly statistics: RouterStatistics;
  /** Seconds that a forward pass of one sequence takes on these threads: the pace of what is measured later. Absent where it was measured on others. */
  readonly lossSeconds?: number;
}

const kept = v.object({
  /** On so many threads, where that is known. */
  lossSeconds: v.pipe(v.number(), v.minValue(0)),
  threads: v.optional(v.number()),
  statistics: v.pipe(v.unknown(), v.transform(parseRouterStatistics)),
});

/** The measurement, from the workspace or made now and kept there. Throws what `measureExperts` throws. */
export async function measureBase(
  { workspace, progress }: Pick<Context, "workspace" | "progress">,
  measured: MeasuredModel,
): Promise<Measurement> {
  const { threads } = measured;
  const file = workspace.layout.measurement(measurementId(measured));
  const known = await readKept(file, progress);
  if (known !== undefined) {
    progress.note("The experts were measured before on the same sequences.");
    const { lossSeconds, statistics } = known;
    if (known.threads === threads) return { lossSeconds, statistics };
    progress.note(`That was with another number of threads than ${threads}: the pace is not known.`);
    return { statistics };
  }
  const started = performance.now();
  const statistics = await measureExperts(measured, progress);
  const sequences = measured.sample.reduce((sum, one) => sum + one.sequences.length, 0);
  const lossSeconds = (performance.now() - started) / 1000 / sequences;
  const text = textOf({ lossSeconds, threads, statistics });
  if (text.reduce((sum, { length }) => sum + length, 0) <= maximumBytes) await writeAtomic(file, text);
  else progress.note("What was measured is too large to be kept: another run measures again.");
  return { lossSeconds, statistics };
}

/** What was kept, where it can be read; what cannot only costs time. */
async function readKept(file: string, progress: Context["progress"]): Promise<v.InferOutput<typeof kept> | undefined> {
  try {
    const found = await readJson(file, maximumBytes);
    return found === undefined ? undefined : v.parse(kept, found);
  } catch (error) {
    const unusable = error instanceof v.ValiError || (error instanceof ConnitoError && unusableCodes.has(error.code));
    if (!unusable) throw error;
    progress.note(`${file} cannot be used (${error.message}): the experts are measured again.`);
    return undefined;
  }
}

const unusableCodes = new Set(["document-corrupt", "file-oversize", "router-statistics-invalid"]);

/** The JSON in parts, a domain in each: of many domains it would be longer than one text can be. */
function textOf({ statistics: { domains, ...rest }, ...pace }: v.InferOutput<typeof kept>): string[] {
  const [head, tail] = JSON.stringify({ ...pace, statistics: { ...rest, domains: [] } }).split("[]") as [string, string];
  return [`${head}[`, ...domains.map((domain, index) => `${index === 0 ? "" : ","}${JSON.stringify(domain)}`), `]${tail}`];
}

/** Everything that follows from a measurement follows from what this names: the base, the sequences and their length. */
export function measurementId({ indexed, sample, sequenceLength }: MeasuredModel): Hash {
  const hashOf = (sequences: readonly Int32Array[]) => {
    const hasher = createHash("sha256");
    for (const { buffer, byteOffset, byteLength } of sequences) hasher.update(new Uint8Array(buffer, byteOffset, byteLength));
    return hasher.digest("hex");
  };
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
