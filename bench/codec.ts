/**
 * What a codec costs and what it keeps. First, on a small model that was trained for thousands of steps (kept in --directory, and trained only where it
 * is missing): a group of miners (codec/subnet.ts) trains half of the experts on a domain, and the held-out loss is compared with that of the same group
 * sending everything in fp32. Curves are kept in --directory too; one that is long enough is not run again. Then the speed of encoding and decoding, beside
 * copying the same memory. Options: --json, --directory PATH, --pretrain STEPS, --cycles 1,5,20, --steps N (a cycle's), --miners 1,3, --only PATTERN,
 * --domain NAME, --threads N. For codecs of places: --rate FACTOR, --outer-rate RATE, --outer-momentum MU, --scales 1,0.7,..., --period CYCLES (that have the
 * same places) and --feedback.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Codec, codecs } from "../src/model/codecs/index.ts";
import { bytesOf } from "../src/model/dtype.ts";
import { documentHash } from "../src/protocol/canonical.ts";
import { createProgress } from "../src/ui/progress.ts";
import { table } from "../src/ui/table.ts";
import { inner, losses, type PlaceUse, type Policy, placeUse, rulesOf, type Subnet, stepsAsPlaces } from "./codec/subnet.ts";
import { unrounded } from "./codec/unrounded.ts";
import { createRandom } from "./random.ts";
import { openBase } from "./transfer/base.ts";
import type { Domain } from "./transfer/experiment.ts";

const reference: Policy = { name: "fp32" };
const policies: readonly Policy[] = [
  { name: "fp32, stepped as places are", outerOfPlaces: true },
  { name: unrounded.name, codec: unrounded },
  ...codecs.flatMap((codec): Policy[] => {
    const feedback = { codec, feedback: true };
    if (codec.place === undefined)
      return [
        { name: codec.name, codec },
        { ...feedback, name: `${codec.name}, with error feedback` },
      ];
    return [
      { name: codec.name, codec },
      { name: `${codec.name}, of a dense run`, codec, dense: true },
      { ...feedback, name: `${codec.name}, of a dense run, with error feedback`, dense: true },
    ];
  }),
];

function said({ rate, outer, period, feedback }: PlaceUse): string {
  const step = `rate ${rate}, outer rate ${outer.learningRate}, momentum ${outer.momentum}`;
  return `${step}, places for ${period}${feedback ? ", with feedback" : ""}`;
}

/** The losses after 0 to `cycles` cycles, from the file of an earlier run as far as it goes. */
async function curve(directory: string, subnet: Subnet, policy: Policy, cycles: number): Promise<number[]> {
  const { domain, miners, steps, places } = subnet;
  const parameters = [policy.name, domain.name, `${miners} miners`, `${steps} steps`, ...(stepsAsPlaces(policy) ? [said(places)] : [])];
  // A curve made under other rules is another one.
  const rules = documentHash(rulesOf(subnet, policy)).slice(0, 8);
  const file = join(directory, `${[...parameters, rules].join(", ").replaceAll(" ", "-")}.json`);
  const kept = await readFile(file, "utf8").then(
    (text) => JSON.parse(text) as number[],
    () => [],
  );
  if (kept.length > cycles) return kept.slice(0, cycles + 1);
  const found: number[] = [];
  for await (const loss of losses(subnet, policy)) {
    found.push(loss);
    await writeFile(file, JSON.stringify(found));
    if (found.length > cycles) break;
  }
  console.error(`${parameters.join(", ")}: ${found.map((value) => value.toFixed(4)).join(" ")}`);
  return found;
}

/** GB of fp32 a second of processor time, the best of several. */
function speed(bytes: number, work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 12; run++) {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / 1e6);
  }
  return bytes / best / 1e9;
}

function speeds() {
  const next = createRandom();
  const random = () => next() / 2 ** 24 - 0.5;
  const values = Float32Array.from({ length: 2 ** 22 }, () => random() * Math.exp(4 * random()) * 1e-3);
  const target = new Float32Array(values.length);
  const copy = speed(values.byteLength, () => target.set(values));
  return codecs.map((codec) => {
    const encoded = codec.encode(values, 1);
    return {
      codec: codec.name,
      encode: speed(values.byteLength, () => codec.encode(values, 1)),
      decode: speed(values.byteLength, () => codec.decode(encoded, values.length, 1)),
      copy,
    };
  });
}

function bytesPerParameter(codec: Codec | undefined): number {
  const elements = 2 ** 20;
  if (codec === undefined) return 4;
  return codec.parts("tensor", [elements]).reduce((sum, { dtype, shape }) => sum + (bytesOf(dtype, shape) as number), 0) / elements;
}

export async function run(): Promise<void> {
  const { values: flags } = parseArgs({
    args: process.argv.slice(process.argv[2] === "codec" ? 3 : 2),
    options: {
      json: { type: "boolean" },
      directory: { type: "string", default: join(tmpdir(), "connito-transfer") },
      pretrain: { type: "string", default: "3500" },
      cycles: { type: "string", default: "1,5,20" },
      steps: { type: "string", default: "25" },
      threads: { type: "string", default: "2" },
      domain: { type: "string", default: "speeches" },
      rate: { type: "string", default: String(placeUse.rate) },
      "outer-rate": { type: "string", default: String(placeUse.outer.learningRate) },
      "outer-momentum": { type: "string", default: String(placeUse.outer.momentum) },
      scales: { type: "string", default: placeUse.scales.join() },
      period: { type: "string", default: String(placeUse.period) },
      feedback: { type: "boolean", default: false },
      miners: { type: "string", default: "1,3" },
      only: { type: "string", default: "" },
    },
  });
  const cycles = flags.cycles.split(",").map(Number);
  const steps = Number(flags.steps);
  const threads = Number(flags.threads);
  const base = await openBase(flags.directory, Number(flags.pretrain), threads, createProgress({ kind: "plain" }));
  const domain = base.domains.find(({ name }) => name === flags.domain) as Domain;
  const directory = join(flags.directory, "curves");
  await mkdir(directory, { recursive: true });
  const places: PlaceUse = {
    rate: Number(flags.rate),
    outer: { learningRate: Number(flags["outer-rate"]), momentum: Number(flags["outer-momentum"]) },
    scales: flags.scales.split(",").map(Number),
    period: Number(flags.period),
    feedback: flags.feedback,
  };
  const only = new RegExp(flags.only);
  const rows = [];
  for (const miners of flags.miners.split(",").map(Number)) {
    const subnet = {
      base,
      domain,
      optimizer: inner,
      miners,
      steps,
      places,
      threads,
    };
    const run = (policy: Policy) => curve(directory, subnet, policy, Math.max(...cycles));
    const expected = await run(reference);
    for (const policy of [reference, ...policies.filter(({ name }) => only.test(name))]) {
      const found = await run(policy);
      const gain = (losses: readonly number[], cycle: number) => (losses[0] as number) - (losses[cycle] as number);
      const bytes = bytesPerParameter(policy.codec);
      rows.push({
        name: policy.name,
        miners,
        bytesPerParameter: bytes,
        smallerThanBf16: 2 / bytes,
        loss: [0, ...cycles].map((cycle) => found[cycle] as number),
        gainKept: cycles.map((cycle) => gain(found, cycle) / gain(expected, cycle)),
      });
    }
  }
  const measured = speeds();
  if (flags.json) {
    console.log(JSON.stringify({ cycles, stepsPerCycle: steps, policies: rows, speeds: measured }));
    return;
  }
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  console.log(
    table(
      ["codec", "miners", "bytes/parameter", "smaller than bf16", ...cycles.map((cycle) => `gain kept, ${cycle}`)],
      rows.map((row) => [
        row.name,
        `${row.miners}`,
        row.bytesPerParameter.toFixed(4),
        `${row.smallerThanBf16.toFixed(1)}x`,
        ...row.gainKept.map(percent),
      ]),
    ),
  );
  console.log(
    table(
      ["codec", "encode GB/s", "decode GB/s", "memory copy GB/s"],
      measured.map((row) => [row.codec, row.encode.toFixed(2), row.decode.toFixed(2), row.copy.toFixed(2)]),
    ),
  );
}
