/**
 * Makes the golden vectors of the protocol, test/protocol/vectors/*.json, from the rules in src/protocol:
 *
 *     node --import tsx scripts/make-vectors.ts && npx biome format --write test/protocol/vectors
 *
 * They change only when docs/protocol.md changes. The tests check every value a second time, against test/protocol/vectors/second.ts,
 * which is written from the text alone.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { codecNamed } from "../src/model/codecs/index.ts";
import { type AggregationRule, aggregateDeltas } from "../src/protocol/aggregate.ts";
import { agreedScores, disputedMiners, heldToChain, mergeOrder, voteOnVersion } from "../src/protocol/agreement.ts";
import { artifactRoot } from "../src/protocol/artifact.ts";
import { canonicalJson, documentHash } from "../src/protocol/canonical.ts";
import { ballotHash, commitmentHash } from "../src/protocol/commitment.ts";
import { cosines, createSketcher, drawPlaces, drawSigns, effectsOf, isNoise, likenessOf } from "../src/protocol/copies.ts";
import { judge } from "../src/protocol/evaluation.ts";
import { assignMiners } from "../src/protocol/experts/assignment.ts";
import { selectExperts, sharesOf } from "../src/protocol/experts/esft.ts";
import { createExpertManager } from "../src/protocol/experts/expert-manager.ts";
import { parseGrouping } from "../src/protocol/experts/grouping.ts";
import { assess, chooseScale, chooseStep } from "../src/protocol/gate.ts";
import { fields, fromHex, hashFields, sha256, toHex, utf8 } from "../src/protocol/hash.ts";
import { areStages, drawOpenSequences, drawSequences } from "../src/protocol/held-out.ts";
import { hotkeyOf } from "../src/protocol/hotkey.ts";
import { merkleRoot } from "../src/protocol/merkle.ts";
import { averageDeltas, outerStep } from "../src/protocol/outer-step.ts";
import {
  blocksOf,
  drawTurns,
  lookAgain,
  ownEffects,
  ownersOf,
  placesOfTurns,
  showLittle,
  turnsOfLook,
} from "../src/protocol/own-training.ts";
import { placesSeed } from "../src/protocol/places.ts";
import { seed, stream } from "../src/protocol/random.ts";
import { type ChainRecord, encodeRecord, noGroup } from "../src/protocol/records.ts";
import { createReport, type ReportEntry, reportMessage } from "../src/protocol/report.ts";
import { requestMessage } from "../src/protocol/request.ts";
import { drawScorers } from "../src/protocol/scorers.ts";
import { requestProof, type SessionRequest, sessionKey } from "../src/protocol/session.ts";
import { parseTask, taskHash } from "../src/protocol/task.ts";
import { decodeTokens, parseTokenData, placeOfSequence, sequenceBytes, shardBytes } from "../src/protocol/token-data.ts";
import { trainingShare } from "../src/protocol/training-share.ts";
import type { ChainVerdict } from "../src/protocol/verdict.ts";
import { createWalk, walkSeed } from "../src/protocol/walk.ts";
import { weightsOf } from "../src/protocol/weights.ts";

const name = (text: string) => toHex(sha256(utf8(text)));
const hotkey = (text: string) => hotkeyOf(sha256(utf8(text)));
const float32Bits = (values: Float32Array) => [...new Uint32Array(values.slice().buffer)].map((bits) => bits.toString(16).padStart(8, "0"));

/** Spelled out, so that a default can change without the vectors. */
const task = parseTask({
  format: "connito/task/1",
  name: "vectors",
  netuid: 348,
  model: { root: name("base"), standIns: name("stand-ins") },
  experts: { groups: 3, grouping: "even", selection: { score: "token", threshold: 0.2, scores: name("scores") } },
  data: {
    sequenceLength: 256,
    domains: [
      { name: "law", train: name("law train"), heldOut: name("law held out") },
      { name: "sea", train: name("sea train"), heldOut: name("sea held out") },
    ],
  },
  inner: {
    optimizer: "adamw",
    learningRate: 3e-4,
    schedule: "linear",
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0.01,
    clipNorm: 1,
    batchSequences: 4,
    accumulation: 1,
  },
  outer: { optimizer: "nesterov", learningRate: 0.7, momentum: 0.9 },
  cycle: { startBlock: 7_000_001, phases: { distribute: 5, train: 18, commit: 4, reveal: 5, score: 7, merge: 6 } },
  assignment: { missedCycles: 2 },
  submission: { codec: "dense-bf16", maximumBytes: 268_435_456 },
  evaluation: { sequencesPerDomain: 6, stages: 3, errorRate: 0.01, minimumScore: 1 },
  merge: { contributors: 4, method: "mean", tolerated: 0.25, normCap: 2, errorRate: 0.2, scales: [1, 0.7, 0.5] },
  validators: { minimumStake: "1000000000", scorers: 2 },
  weights: { window: 8 },
});

const muonTask = parseTask({
  ...task,
  inner: {
    ...task.inner,
    optimizer: "muon",
    muon: { momentum: 0.95, nesterov: true, iterations: 5, coefficients: [3.4445, -4.775, 2.0315], updateSize: 0.2 },
  },
});

function hashVectors() {
  const fieldCases = [
    { domain: "connito/example/1", parts: [] },
    { domain: "connito/example/1", parts: ["", "00", "0102"] },
    { domain: "", parts: ["ff".repeat(300)] },
  ];
  const leaves = Array.from({ length: 11 }, (_, index) => toHex(utf8("leaf ".repeat(index))));
  const lengths = [0, 1, 1_048_575, 1_048_576, 1_048_577, 2_500_000];
  const document = { b: [1, 0.1, 1e21, -0, 1e-7], a: { "\u00e9": '\u2028"\\', A: true }, "10": null, "9": "" };
  return {
    about: "fields and H; Merkle roots of the first n leaves; artifact roots of `length` bytes of value index mod 251; RFC 8785",
    fields: fieldCases.map(({ domain, parts }) => ({
      domain,
      parts,
      bytes: toHex(fields(domain, ...parts.map(fromHex))),
      hash: hashFields(domain, ...parts.map(fromHex)),
    })),
    merkle: { leaves, roots: leaves.concat("").map((_, count) => merkleRoot(leaves.slice(0, count).map(fromHex))) },
    artifacts: lengths.map((length) => ({ length, root: artifactRoot(Uint8Array.from({ length }, (_, index) => index % 251)) })),
    document: { document, canonical: Buffer.from(canonicalJson(document)).toString("utf8"), hash: documentHash(document) },
    task: { document: task, hash: taskHash(task) },
    muonTask: { document: muonTask, hash: taskHash(muonTask) },
  };
}

function randomnessVectors() {
  const seeds = (["assignment", "evaluation"] as const).map((purpose, index) => {
    const input = { purpose, taskHash: taskHash(task), cycle: 41 + index, blockHash: name(`block ${index}`) };
    return { ...input, seed: seed(input.purpose, input.taskHash, input.cycle, input.blockHash) };
  });
  const from = seeds[0]?.seed as string;
  const bounds = [1, 2, 3, 10, 1_000, 3_221_225_472, 2_147_483_649, 4_294_967_296, 7, 2_863_311_531, 5, 5];
  const random = stream(from);
  return {
    about: "seeds; one stream asked for integers below each bound in turn; draws of k of n, each from a fresh stream of the seed",
    seeds,
    stream: { seed: from, bounds, values: bounds.map((bound) => random.uniform(bound)) },
    draws: [
      { seed: from, k: 5, n: 5 },
      { seed: from, k: 4, n: 300 },
    ].map((input) => ({ ...input, drawn: stream(input.seed).draw(input.k, input.n) })),
  };
}

function commitVectors() {
  const preimages = ["first", "second"].map((text, index) => ({
    netuid: task.netuid,
    taskHash: taskHash(task),
    cycle: 258 + index,
    group: index,
    hotkey: hotkey(text),
    baseRoot: name("base root"),
    artifactRoot: name(`${text} artifact`),
    salt: name(`${text} salt`),
  }));
  const records: ChainRecord[] = [
    { kind: "commit", cycle: 258, group: 1, commitment: name("commitment") },
    {
      kind: "reveal",
      cycle: 4_294_967_295,
      group: 65_535,
      artifactRoot: name("artifact"),
      salt: name("salt"),
      locator: "http://10.1.2.3:8091",
    },
    { kind: "version", cycle: 1, previousRoot: name("old"), root: name("new"), locator: "https://validator.example" },
    { kind: "task", taskHash: taskHash(task), locator: "file:/srv/connito/été" },
    { kind: "ready", cycle: 77, group: noGroup },
    { kind: "report", cycle: 78, base: name("base"), report: name("report"), locator: "http://10.1.2.3:8091" },
    { kind: "ballot", cycle: 79, base: name("base"), ballot: name("ballot"), locator: "https://validator.example" },
  ];
  const ballot = {
    netuid: task.netuid,
    taskHash: taskHash(task),
    cycle: 79,
    hotkey: hotkey("validator"),
    previousRoot: name("old"),
    root: name("new"),
  };
  const requests = ["", "bytes=1048576-"].map((range) => ({
    method: "GET",
    path: `/objects/${name("object")}`,
    range,
    receiver: hotkey("server"),
    block: 7_000_123,
    nonce: "000102030405060708090a0b0c0d0e0f",
  }));
  // Keys and secret of RFC 7748, section 6.1.
  const secret = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
  const parties = {
    sender: hotkey("miner"),
    receiver: hotkey("server"),
    senderKey: "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    receiverKey: "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    session: "f0e0d0c0b0a090807060504030201000",
  };
  const key = sessionKey(fromHex(secret), parties);
  const sessionRequests = [
    { method: "GET", path: `/objects/${name("object")}`, range: "bytes=1048576-", count: 1 },
    { method: "HEAD", path: "/task.json", range: "", count: 999_999_999_999_999 },
  ];
  const proofOf = (request: SessionRequest) => ({ request, proof: toHex(requestProof(key, request)) });
  return {
    about: "commitments; a ballot; records on the chain; the message that a request signs; keys and proofs of sessions",
    commitments: preimages.map((preimage) => ({ preimage, commitment: commitmentHash(preimage) })),
    ballot: { version: ballot, ballot: ballotHash(ballot) },
    records: records.map((record) => ({ record, bytes: toHex(encodeRecord(record)) })),
    requests: requests.map((request) => ({ request, message: toHex(requestMessage({ ...request, nonce: fromHex(request.nonce) })) })),
    sessions: [{ ...parties, secret, key: toHex(key), proofs: sessionRequests.map(proofOf) }],
  };
}

function expertVectors() {
  const cycle = 9;
  const lastRecords = [
    { cycle: 8, group: 0 },
    { cycle: 8, group: 0 },
    { cycle: 7, group: 0 },
    { cycle: 8, group: 0 },
    { cycle: 8, group: 1 },
    { cycle: 8, group: 7 },
    { cycle: 6, group: 1 },
    { cycle: 9, group: 2 },
    undefined,
    undefined,
    { cycle: 8, group: 2 },
  ];
  const first = task.cycle.startBlock + 7 * 45;
  const miners = lastRecords.map((lastRecord, uid) => ({
    hotkey: hotkey(`miner ${uid}`),
    uid,
    registeredAt: uid === 8 ? first : first - 1,
    ...(lastRecord === undefined ? {} : { lastRecord }),
  }));
  const input = { cycle, seed: name("assignment seed"), groups: 3, miners };
  const selections = [
    { scores: [0.05, 0.3, 0.05, 0.1], candidates: [4, 5, 6, 7], threshold: 0.7 },
    { scores: [0.2, 0.2, 0.2, 0.4], candidates: [0, 1, 2, 3], threshold: 0.5 },
    { scores: [0, 0, 0, 0], candidates: [0, 1, 2, 3], threshold: 0.5 },
    { scores: [0, 3, 0, 1], candidates: [0, 1, 2, 3], threshold: 1 },
  ];
  const { groups, unavailable } = assignMiners({ ...input, task });
  const grouping = parseGrouping({
    format: "connito/grouping/1",
    objective: "affinity",
    statistics: name("statistics"),
    layers: [
      { layer: 1, groupOf: [2, 0, 1, 1, 2, 0] },
      { layer: 2, groupOf: [0, 1, 2] },
    ],
  });
  const layout = { layers: grouping.layers.map(({ layer, groupOf }) => ({ layer, experts: groupOf.length })) };
  const expertsOf = (manager: ReturnType<typeof createExpertManager>) => [0, 1, 2].map((group) => manager.expertsOf(group));
  return {
    about:
      "assignment of a cycle (missedCycles 2, cycles of 45 blocks from 7000001); ESFT selection, scores not yet scaled to one; experts of three groups, by a grouping and evenly",
    assignment: { input, groups, unavailable },
    selections: selections.map((entry) => ({ ...entry, selected: selectExperts({ ...entry, scores: sharesOf(entry.scores) }) })),
    grouping: {
      document: grouping,
      hash: documentHash(grouping),
      layout,
      groups: expertsOf(createExpertManager(layout, 3, grouping)),
      even: expertsOf(createExpertManager(layout, 3)),
    },
  };
}

function evaluationVectors() {
  const draw = { seed: name("evaluation seed"), available: [55, 90] };
  const { stages, gate: judged } = drawSequences({ ...draw, task });
  const places = (drawn: readonly { domain: number; index: number }[]) => drawn.map(({ domain, index }) => [domain, index]);
  const baseLosses = [3.25, 2.5, 4.125, 3, 2.75, 3.5];
  const candidates = [
    [3.24, 2.52, 4.1, 2.98, 2.751, 3.47],
    [3.2, 2.45, 4.05, 2.97, 2.7, 3.49],
    [3.19, 2.45, 4.06, 2.95, 2.69, 3.45],
    [3.125, 2.375, 4, 2.875, 2.625, 3.375],
    [3.25, 2.5, 4.125, 3, 2.75, 3.5],
    [3.3, 2.55, 4.17, 3.06, 2.8, 3.56],
  ];
  // A mean below nothing that another two stages may mend, and one above it that another one will not.
  const unsure = [
    [3.26, 2.47, 4.15, 3.01, 2.72, 3.53],
    [3.26, 2.465, 4.145, 3.01, 2.715, 3.518],
  ];
  const drawn = baseLosses.map((_, index) => ({ domain: index % 2, index }));
  const tried = candidates.map((losses) => assess({ drawn, domains: 2, errorRate: task.merge.errorRate }, baseLosses, losses));
  const steps = [
    { moving: [0, 5, 7, 7], resting: [9, 9, 9, 9] },
    { moving: [0, 0, 0, 0], resting: [0, 4, 3, 1] },
    { moving: [0, 0], resting: [0, 0] },
  ];
  const stakes = ["900000000000", "1", "0", "400000000000", "18446744073709551615"];
  const validators = stakes.map((stake, index) => ({ hotkey: hotkey(`validator ${index}`), stake }));
  const scorers = (count: number) =>
    drawScorers({
      seed: draw.seed,
      validators: validators.map(({ hotkey: key, stake }) => ({ hotkey: key, stake: BigInt(stake) })),
      groups: 6,
      count,
    });
  return {
    about:
      "drawn sequences (6 of each domain in a stage, as [domain, index]), and whether stages of such numbers are those, or those of other data; scorers of 6 groups; verdicts and scores by stage (of 3 stages by their numbers of sequences, error rate 0.01, minimum 1); the gate (error rate 0.2, sequences of two domains in turns): losses by domain, gains, and the choice; steps of all groups together, by their gains with the momentum and from rest",
    draw: {
      ...draw,
      stages: stages.map(places),
      gate: places(judged),
      open: places(drawOpenSequences({ ...draw, task })),
      numbers: [[12, 12, 14], [12, 12, 24], [12, 12], [12], [12, 12, 16], [24], [10], [12, 13], [12, 12, 24, 48], []].map((numbers) => ({
        numbers,
        drawn: areStages(task, numbers, draw.available),
        possible: areStages(task, numbers),
      })),
    },
    scorers: { seed: draw.seed, validators, drawn: [2, 3, 9].map((count) => ({ count, groups: scorers(count) })) },
    scores: [...candidates, ...unsure].flatMap((candidateLosses) =>
      [
        [6, 6, 12],
        [3, 3, 6],
        [2, 2, 2],
      ].map((stages, index) => {
        const shown = { baseLosses, candidateLosses, stage: index + 1, stages };
        return { ...shown, judgement: judge({ task, ...shown }) ?? null };
      }),
    ),
    gate: { baseLosses, candidates, tried, chosen: chooseScale(tried.map(({ gain }) => gain)) ?? null },
    steps: steps.map(({ moving, resting }) => ({ moving, resting, chosen: chooseStep(moving, resting) ?? null })),
  };
}

function copyVectors() {
  const random = stream(name("sketches"));
  const values = () => Float32Array.from({ length: 32 }, () => (random.uniform(2001) - 1000) / 1000);
  const shared = values();
  const mixed = (...parts: [number, Float32Array][]) =>
    shared.map((_, i) => parts.reduce((sum, [by, of]) => sum + by * (of[i] as number), 0));
  const honest = () => mixed([0.9, shared], [1, values()]);
  const earlier = Array.from({ length: 7 }, honest) as [Float32Array, Float32Array, ...Float32Array[]];
  const [first, second, third] = earlier;
  const groups: { title: string; deltas: Float32Array[]; scores?: number[]; strengths?: number[] }[] = [
    { title: "honest", deltas: [...earlier, honest()] },
    { title: "scaled", deltas: [...earlier, mixed([-1.5, first])] },
    { title: "a mixture of two", deltas: [...earlier, mixed([0.5, first], [0.5, second])] },
    { title: "a mixture of two with noise", deltas: [...earlier, mixed([1, first], [1, second], [0.2, values()])] },
    { title: "much noise", deltas: [...earlier, mixed([1, first], [0.9, values()])] },
    {
      title: "a copy between the original and honest work",
      deltas: [first, mixed([1, first], [0.3, values()]), second, third as Float32Array],
    },
    { title: "two", deltas: [first, mixed([1, first], [0.1, values()])] },
    { title: "nothing", deltas: [first, second, third as Float32Array, mixed([0, first])] },
    {
      title: "honest work among noise",
      deltas: [first, ...Array.from({ length: 5 }, values), second],
      scores: [4_000, 999, 0, 999, 1, 999, 4_000],
    },
    {
      title: "honest work among what gains a quarter as much",
      deltas: [first, ...Array.from({ length: 5 }, values), second],
      scores: [4_000, 1_000, 1_000, 1_000, 1_000, 1_000, 4_000],
    },
    ...[
      { title: "honest work among what moves losses less by its length", strengths: [4, 2.99, 1.99, 0.5, 3, 2, 5] },
      { title: "honest work among what moves losses as far", strengths: [4, 3, 3, 3, 3, 3, 5] },
      { title: "honest work like what moves losses less", strengths: [2, 1.5, 1.5, 1.5, 1.49, 1.5, 5] },
      { title: "honest work like what is not known to move losses", strengths: [0, 4, 4, 4, 3, 3.5, 5] },
    ].map((group) => ({ ...group, deltas: [first, second, ...Array.from({ length: 4 }, values), mixed([1, first], [0.4, values()])] })),
  ];
  const runs = { elements: 10, starts: [7, 2, 9], length: 4 };
  const tensors = [Float32Array.of(0, 1, 2), new Float32Array(0), Float32Array.of(3, 0, 0, 6, 7, 8, 9)];
  const sketcher = createSketcher(runs);
  for (const tensor of tensors) sketcher.add(tensor);
  const sketch = sketcher.finish();
  const places = { elements: shared.length, starts: [0], length: shared.length };
  return {
    about:
      "the first places of sketches; a sketch of runs; deltas of groups in order of commits, what their losses would pay them, how far those move by their lengths, and what is said of each of them",
    places: [
      { seed: name("sketch"), group: 0, elements: 1_000 },
      { seed: name("sketch"), group: 1, elements: 10_000_000_000 },
      { seed: name("sketch"), group: 1, elements: 1_000_000, kept: 410 },
    ].map(({ kept, ...input }) => {
      const { starts, length } = drawPlaces(input.seed, input.group, input.elements, kept);
      return { ...input, kept: kept ?? null, runs: starts.length, length, first: starts.slice(0, 12) };
    }),
    runs: { ...runs, tensors: tensors.map((tensor) => [...tensor]), sketch: [...sketch.at].map((at, index) => [at, sketch.values[index]]) },
    groups: groups.map(({ title, deltas, scores = deltas.map(() => 1_000), strengths = deltas.map(() => 0) }) => {
      const all = createSketcher(places);
      const cosine = cosines(
        deltas.map((delta) => {
          all.add(delta);
          return all.finish();
        }),
      );
      const standings = scores.map((score, place) => ({ score, strength: strengths[place] as number }));
      return {
        title,
        deltas: deltas.map((delta) => [...delta]),
        scores,
        strengths,
        dense: deltas.map((_, place) => likenessOf(cosine, place, false, standings)),
        sparse: deltas.map((_, place) => likenessOf(cosine, place, true, standings)),
      };
    }),
    effects: [
      { size: 1, random: 1 },
      { size: 0.3, random: 0.3 },
      { size: 1.4, random: 1 },
      { size: 0.01, random: 0.001 },
      { size: 0.01, random: 0.008 },
    ].map(({ size, random: times }) => {
      const losses = () => Array.from({ length: 6 }, () => random.uniform(1000) / 1000);
      const apart = (from: readonly number[], by: number) => from.map((loss) => loss + (by * (random.uniform(1000) - 500)) / 1000);
      const [base, explained, mirrored, scrambled] = [losses(), losses(), losses(), losses()];
      const all = { base, explained, own: apart(mirrored, size), mirrored, scrambled, scrambledMirrored: apart(scrambled, times) };
      const found = effectsOf(all, 0.8);
      return { share: 0.8, losses: all, ...found, noise: isNoise(found) };
    }),
    signs: [
      { seed: name("sketch"), group: 0, name: "one" },
      { seed: name("sketch"), group: 1, name: "two" },
    ].map((of) => ({ ...of, first: Array.from({ length: 24 }, (_, index) => drawSigns(of.seed, of.group, of.name)(index)) })),
  };
}

function ownTrainingVectors() {
  const walks = [
    {
      sizes: [[5, 5, 5, 2], [3]],
      cycle: 3,
      group: 1,
      miner: 0,
      miners: 1,
      places: [0, 1, 2, 3, 4, 5, 6, 7, 8, 22, 24, 28, 32, 33, 34, 35, 36, 400_001],
    },
    { sizes: [[2, 1], [4, 4], [9]], cycle: 0, group: 0, miner: 4, miners: 5, places: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] },
  ];
  const turns = [
    { group: 0, sequences: 64, drawn: 16, available: [100] },
    { group: 1, sequences: 67, drawn: 20, available: [100, 22, 9] },
    { group: 65_534, sequences: 16, drawn: 16, available: [4, 100, 1] },
  ];
  const random = stream(name("own training"));
  const normal = () => Array.from({ length: 12 }, () => random.uniform(1000) / 1000).reduce((a, b) => a + b, -6);
  const thousandths = (value: number) => Math.round(1000 * value) / 1000;
  /** Losses of members that gain so much more on their own sequences; those of the same training are alike, and NaN is lost on one sequence. */
  const block = (sizes: readonly number[], members: readonly { own: number; training?: number; lost?: number }[]) => {
    const owners = sizes.flatMap((size, owner) => Array<number>(size).fill(owner));
    const common = owners.map(normal);
    const besides = members.map(() => owners.map(normal));
    const base = owners.map(() => thousandths(3 + normal()));
    const losses = members.map(({ own, training, lost }, member) =>
      owners.map((owner, at) => {
        const rest = 0.3 * (besides[training ?? member]?.[at] as number) + 0.02 * normal() + (owner === member ? own : 0);
        return at === lost ? Number.NaN : thousandths((base[at] as number) - 0.1 * (2 + (common[at] as number) + rest));
      }),
    );
    return { sizes, base, members: losses };
  };
  const [honest, idle] = [{ own: 2 }, { own: 0 }];
  const effectsOf = ({ sizes, ...losses }: ReturnType<typeof block>) => ownEffects({ ...losses, owners: ownersOf(sizes) });
  const groups = [
    { title: "one that has not learned of its own", blocks: [block([24, 24, 24, 24], [honest, idle, honest, honest])] },
    {
      title: "one training thrice, in two blocks",
      blocks: [
        block([24, 24, 24], [honest, { own: 0, training: 1 }, { own: 0, training: 1 }]),
        block([24, 24, 24], [{ own: 0, training: 0 }, { own: 3 }, honest]),
      ],
    },
    { title: "one that learned by heart", blocks: [block([24, 24, 24, 24], [{ own: 100 }, { own: 1.5 }, honest, idle])] },
    { title: "one that shows some, of three", blocks: [block([24, 24, 24], [{ own: 2 }, idle, idle])] },
    {
      title: "two blocks, of which one has to be looked at again",
      blocks: [block([24, 24, 24], [honest, honest, honest]), block([24, 24, 24], [honest, { own: 0.6 }, honest])],
    },
    { title: "little is usual", blocks: [block([24, 24, 24], [{ own: 0.25 }, { own: 0.25 }, { own: -0.5 }])] },
    { title: "nobody", blocks: [block([12, 12, 12], [idle, idle, idle])] },
    { title: "one sequence, whose gain is much", blocks: [block([24, 24, 24, 1], [honest, honest, honest, { own: 6 }])] },
    { title: "shares that are small", blocks: [block([24, 24, 1, 7], [honest, honest, idle, idle])] },
    { title: "a loss that is not finite", blocks: [block([24, 24, 24, 24], [honest, { ...idle, lost: 3 }, honest, idle])] },
    { title: "a loss that is not finite, of three", blocks: [block([16, 16, 16], [{ own: 2 }, { ...honest, lost: 40 }, { own: -1 }])] },
  ];
  return {
    about:
      "places of walks, as [domain, shard, number of the sequence], through the runs that a miner's share has of each domain; turns drawn by domain, their places, and which are for the first look and for the second; sizes of blocks of groups of 0 on; losses of the blocks of groups (null: not finite) on the sequences of each member in turn, with effects and errors (null: not a number), which blocks would have to be looked at again by these, and who shows too little",
    walks: walks.map(({ sizes, places, ...share }) => {
      const taskHash = name("task");
      const runs = sizes.map((shards, domain) =>
        trainingShare(
          {
            sequences: shards.reduce((sum, size) => sum + size, 0),
            shards: shards.map((sequences) => ({ hash: name("shard"), sequences })),
          },
          { ...share, taskHash, domain },
        ),
      );
      const [cycle, miner] = [share.cycle, hotkey(`miner ${share.miner}`)];
      const from = walkSeed(taskHash, cycle, miner);
      const walk = createWalk(runs, from);
      const at = places.map((place) => {
        const { domain, shard, index } = walk.at(place);
        return { place, at: [domain, shard, index] };
      });
      return { taskHash, cycle, miner, seed: from, runs, places: at };
    }),
    turns: turns.map(({ group, available, ...leastTraining }) => {
      const [from, miner] = [name("evaluation seed"), hotkey(`miner ${group}`)];
      const drawn = drawTurns(from, group, miner, leastTraining, available);
      return {
        seed: from,
        group,
        miner,
        leastTraining,
        available,
        turns: drawn,
        places: placesOfTurns(drawn),
        first: turnsOfLook(drawn, 1),
        second: turnsOfLook(drawn, 2),
      };
    }),
    blocks: Array.from({ length: 14 }, (_, members) => blocksOf(Array(members).fill(0)).map(({ length }) => length)),
    groups: groups.map(({ title, blocks }) => ({
      title,
      blocks: blocks.map((losses) => ({ ...losses, effects: effectsOf(losses).map(({ effect, error }) => [effect, error]) })),
      again: lookAgain(blocks.map(effectsOf)),
      little: showLittle(blocks.flatMap(effectsOf)),
    })),
  };
}

function mergeVectors() {
  // Values of many sizes, so that another order of adding, another rounding, or a fused operation shows in the bits.
  const values = (salt: string, scale: number) => {
    const random = stream(name(salt));
    return Float32Array.from({ length: 12 }, () => ((random.uniform(2 ** 24) - 2 ** 23) / 2 ** 23) * scale * 10 ** (random.uniform(5) - 2));
  };
  const contributors = [
    { text: "p", score: 41, block: 12, extrinsicIndex: 1 },
    { text: "q", score: 977, block: 13, extrinsicIndex: 2 },
    { text: "r", score: 41, block: 11, extrinsicIndex: 9 },
    { text: "s", score: 41, block: 11, extrinsicIndex: 7 },
    { text: "t", score: 3, block: 10, extrinsicIndex: 1 },
  ].map(({ text, ...place }) => ({ hotkey: hotkey(text), ...place, delta: values(`delta ${text}`, 0.01) }));
  const agreed = contributors.map(
    ({ hotkey: miner, score }): ReportEntry => ({ miner, group: 0, status: "accepted", score, root: name(miner) }),
  );
  const order = (mergeOrder({ agreed, commits: contributors, groups: 1, contributors: task.merge.contributors })[0] ?? []).map(
    ({ miner }) => miner,
  );
  const gradient = averageDeltas(order.map((miner) => contributors.find((entry) => entry.hotkey === miner)?.delta as Float32Array));
  const rule = (change: Partial<AggregationRule>): AggregationRule => ({ method: "mean", tolerated: 0.25, normCap: 2, ...change });
  const deltas = contributors.map(({ delta }) => [delta.subarray(0, 5), delta.subarray(5)]);
  const rules = [
    rule({ normCap: 1 }),
    rule({ method: "trimmed-mean" }),
    rule({ method: "median", normCap: 1_000_000 }),
    rule({ method: "centred-clipping" }),
    rule({ method: "krum", normCap: 1_000_000 }),
  ];
  const aggregates = [5, 4].flatMap((count) =>
    rules.map((aggregation) => ({
      count,
      rule: aggregation,
      gradient: aggregateDeltas(deltas.slice(0, count), aggregation).map(float32Bits),
    })),
  );
  const base = values("base", 1);
  const momentum = values("momentum", 0.01);
  const options = { learningRate: 0.7, mu: 0.9, scale: 0.7 };
  const withMomentum = outerStep({ base, gradient, momentum, ...options });
  const first = outerStep({ base, gradient, ...options });
  return {
    about:
      "merge order and outer step of one tensor, at most 4 contributors; aggregates of the first contributors' deltas, cut into tensors of 5 and 7; fp32 values as the hexadecimal digits of their bits",
    contributors: contributors.map(({ delta, ...entry }) => ({ ...entry, delta: float32Bits(delta) })),
    base: float32Bits(base),
    momentum: float32Bits(momentum),
    options,
    order,
    gradient: float32Bits(gradient),
    aggregates,
    step: { weights: float32Bits(withMomentum.weights), momentum: float32Bits(withMomentum.momentum) },
    firstStep: { weights: float32Bits(first.weights), momentum: float32Bits(first.momentum) },
  };
}

function agreementVectors() {
  const miners = ["one", "two", "three"].map(hotkey).sort();
  const entry = (index: number, score: number | null): ReportEntry => ({
    miner: miners[index] as string,
    group: index,
    status: score === null ? "unscored" : score > 0 ? "accepted" : "no-gain",
    score: score ?? 0,
    root: name(`artifact ${index}`),
  });
  const reportOf = (index: number) => ({
    task: taskHash(task),
    cycle: 5,
    base: name("base"),
    validator: hotkey(`validator ${index}`),
    evidence: name(`evidence ${index}`),
  });
  const rows: [string, [number, number | null][]][] = [
    [
      "6000000000000",
      [
        [0, 120],
        [1, 0],
        [2, null],
      ],
    ],
    [
      "5000000000001",
      [
        [0, 90],
        [1, 55],
        [2, 7],
      ],
    ],
    [
      "1000000000000",
      [
        [0, 4_000_000],
        [1, 60],
      ],
    ],
  ];
  const reports = rows.map(([stake, scores], index) => ({
    stake,
    report: createReport({ ...reportOf(index), entries: scores.map(([miner, score]) => entry(miner, score)) }),
  }));
  const dispute = (said: readonly [number, number | null][], measured: number | null) => {
    const weighed = said.map(([stake, score], index) => ({
      stake: BigInt(stake),
      report: createReport({ ...reportOf(index), entries: [entry(0, score)] }),
    }));
    const disputed = disputedMiners(weighed).length > 0;
    const own = new Map(disputed ? [[entry(0, 0).miner, entry(0, measured)] as const] : []);
    return { said, measured, disputed, agreed: agreedScores(weighed, own)[0]?.score ?? null };
  };
  type Row = [stake: string, cycle: number, root: string, previous: string, proven: boolean];
  const vote = (rows: readonly Row[]) => {
    const claims = rows.map(([stake, cycle, root, previous, proven]) => ({
      stake,
      cycle,
      root: name(root),
      previousRoot: name(previous),
      proven,
    }));
    const { canonical, active, reporting } = voteOnVersion(
      claims.map((claim) => ({ ...claim, stake: BigInt(claim.stake) })),
      5,
      2,
    );
    return { claims, active: String(active), reporting: String(reporting), canonical: canonical ?? null };
  };
  const elections: Row[][] = [
    [
      ["7", 5, "x", "old", true],
      ["6", 5, "y", "old", true],
      ["2", 5, "x", "older", true],
    ],
    [
      ["6", 5, "y", "old", true],
      ["6", 5, "x", "old", true],
    ],
    [
      ["7", 5, "x", "old", true],
      ["9", 4, "old", "older", false],
    ],
    [
      ["9", 5, "x", "old", false],
      ["1", 5, "y", "old", true],
      ["8", 3, "old", "older", true],
    ],
    [
      ["5", 2, "x", "old", true],
      ["4", 1, "y", "old", true],
    ],
    [
      ["5", 4, "x", "old", true],
      ["5", 4, "y", "old", true],
      ["50", 6, "z", "y", true],
    ],
    [
      ["5", 5, "x", "old", true],
      ["5", 5, "y", "older", true],
    ],
  ];
  const history = [
    { cycle: 1, scores: { [miners[0] as string]: 9_999_999 } },
    { cycle: 2, scores: { [miners[0] as string]: 1_000, [miners[1] as string]: 1 } },
    { cycle: 4, scores: { [miners[0] as string]: 5, [miners[2] as string]: 333 } },
  ];
  const weigh = (window: number) => ({
    window,
    weights: weightsOf(
      history.map(({ cycle, scores }) => ({ cycle, scores: new Map(Object.entries(scores)) })),
      window,
      4,
      new Map(miners.map((miner, uid) => [miner, uid + 10])),
    ),
  });
  const [shown, other] = [name("artifact 0"), name("another")];
  const chain = (["to-fetch", "not-revealed", "copy"] as const).flatMap((status) => {
    const root = status === "not-revealed" ? null : shown;
    const verdict = { miner: miners[0] as string, group: 0, status, root } as ChainVerdict;
    const said = (["accepted", "no-gain", "unreachable", "not-revealed", "copy", "unscored"] as const).flatMap((of) =>
      [null, shown, other].map((root) => ({ status: of, root })),
    );
    return said.map((one) => {
      const entries = [{ miner: miners[0] as string, group: 0, score: one.status === "accepted" ? 1 : 0, ...one }];
      const [held] = heldToChain([{ stake: 1n, report: createReport({ ...reportOf(0), entries }) }], [verdict]);
      const [left] = held?.report.entries ?? [];
      return { chain: { status, root }, said: one, held: left === undefined ? null : { status: left.status, root: left.root } };
    });
  });
  return {
    about:
      "reports with the message signed, and agreed scores; what the chain says of a miner and what a report says, and what counts of that; scores by stake (null: unscored) of a miner, and what is agreed by who measured it again; votes on the version of cycle 5 (missedCycles 2); weights at cycle 4 (uids 10, 11, 12 by hotkey)",
    reports: reports.map(({ stake, report }) => ({ stake, report, message: toHex(reportMessage(report)) })),
    agreed: agreedScores(reports.map(({ stake, report }) => ({ stake: BigInt(stake), report }))),
    chain,
    disputes: [
      dispute(
        [
          [5, 900],
          [4, 500],
        ],
        600,
      ),
      dispute(
        [
          [5, 1_101],
          [4, 500],
        ],
        510,
      ),
      dispute(
        [
          [11, 1_000_000],
          [4, 0],
          [3, null],
        ],
        3,
      ),
      dispute(
        [
          [11, 0],
          [4, 800],
          [3, 900],
        ],
        850,
      ),
      dispute(
        [
          [11, 0],
          [4, 800],
        ],
        9_000,
      ),
      dispute(
        [
          [11, 0],
          [4, 800],
        ],
        null,
      ),
    ],
    votes: elections.map(vote),
    weights: { history, windows: [3, 1].map(weigh) },
  };
}

function signVectors() {
  const random = stream(name("deltas of signs"));
  const delta = (elements: number) =>
    Float32Array.from({ length: elements }, () => ((random.uniform(2 ** 24) - 2 ** 23) / 2 ** 23) * 10 ** -random.uniform(5));
  const { encode, decode } = codecNamed("signs-10");
  const cases = [delta(333), delta(4011), delta(1), new Float32Array(64), Float32Array.of(2, -2, 2, 2)].map((values, index) => {
    const of = { task: name("task"), cycle: 3 * index, group: index, name: `experts.${index}.weight` };
    const drawn = placesSeed(of, of.name);
    const encoded = encode(values, drawn);
    const decoded = decode(encoded, values.length, drawn);
    return {
      of,
      elements: values.length,
      encoded: toHex(encoded[0] as Uint8Array),
      set: [...decoded].flatMap((value, at) => (value === 0 ? [] : [[at, value]])),
    };
  });
  // Of 333 values 34 places: two bytes of scale, 34 bits, 6 zeros.
  const good = fromHex(cases[0]?.encoded as string);
  const refused = [
    toHex(good.with(1, 0x80 | (good[1] as number))),
    toHex(good.with(-1, 0x80 | (good.at(-1) as number))),
    toHex(good.subarray(1)),
    `${toHex(good)}00`,
  ];
  return {
    about:
      "what a submission in signs-10 is of, the bytes of a tensor, and the values that they set as [index, value]; bytes for 333 values that are refused",
    cases,
    refused: { elements: 333, encoded: refused },
  };
}

export const vectorsFolder = new URL("../test/protocol/vectors/", import.meta.url);

/** The vectors by file name. */
function dataVectors() {
  const cases = [
    { dtype: "u16", sequenceLength: 3, sizes: [3, 3, 2] },
    { dtype: "u32", sequenceLength: 1, sizes: [4, 4] },
    { dtype: "u16", sequenceLength: 5, sizes: [1] },
  ] as const;
  const shares = [
    { sizes: [5, 5, 5, 2], cycle: 3, group: 1, domain: 0, miners: 4 },
    { sizes: [5, 5, 5, 2], cycle: 4, group: 1, domain: 1, miners: 4 },
    { sizes: [2, 1], cycle: 0, group: 0, domain: 0, miners: 5 },
    { sizes: [7], cycle: 9, group: 65_534, domain: 2, miners: 1 },
  ];
  return {
    about:
      "data documents, their shards as hexadecimal digits, and the tokens of all their sequences; the sequences that each miner of a group trains on",
    shares: shares.map(({ sizes, ...place }) => {
      const data = {
        sequences: sizes.reduce((sum, size) => sum + size, 0),
        shards: sizes.map((sequences) => ({ hash: name("shard"), sequences })),
      };
      const taskHash = name("task");
      const trained = Array.from({ length: place.miners }, (_, miner) =>
        trainingShare(data, { ...place, taskHash, miner }).flatMap(({ first, sequences }) =>
          Array.from({ length: sequences }, (_, at) => first + at),
        ),
      );
      return { sizes, taskHash, ...place, trained };
    }),
    cases: cases.map(({ dtype, sequenceLength, sizes }, index) => {
      const random = stream(name(`tokens ${index}`));
      const shards = sizes.map((sequences) =>
        Uint8Array.from({ length: sequences * sequenceBytes({ sequenceLength, dtype }) }, () => random.uniform(256)),
      );
      const document = parseTokenData({
        format: "connito/token-data/1",
        tokenizer: name("tokenizer"),
        sequenceLength,
        dtype,
        documents: 2,
        textBytes: 100,
        sequences: sizes.reduce<number>((sum, size) => sum + size, 0),
        shards: shards.map((bytes, shard) => ({ hash: toHex(sha256(bytes)), sequences: sizes[shard] })),
      });
      return {
        document,
        hash: documentHash(document),
        shardBytes: sizes.map((_, shard) => shardBytes(document, shard)),
        shards: shards.map(toHex),
        sequences: Array.from({ length: document.sequences }, (_, sequence) => {
          const { shard, offset } = placeOfSequence(document, sequence);
          return [...decodeTokens(dtype, (shards[shard] as Uint8Array).subarray(offset, offset + sequenceBytes(document)))];
        }),
      };
    }),
  };
}

export function makeVectors() {
  return {
    "hashes.json": hashVectors(),
    "randomness.json": randomnessVectors(),
    "commit.json": commitVectors(),
    "experts.json": expertVectors(),
    "signs.json": signVectors(),
    "data.json": dataVectors(),
    "evaluation.json": evaluationVectors(),
    "copies.json": copyVectors(),
    "own-training.json": ownTrainingVectors(),
    "merge.json": mergeVectors(),
    "agreement.json": agreementVectors(),
  };
}

export type Vectors = ReturnType<typeof makeVectors>;

/** A file of vectors as it stands in the repository. */
export function readVectors<Name extends keyof Vectors>(file: Name): Vectors[Name] {
  return JSON.parse(readFileSync(new URL(file, vectorsFolder), "utf8")) as Vectors[Name];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  for (const [file, content] of Object.entries(makeVectors())) {
    writeFileSync(new URL(file, vectorsFolder), `${JSON.stringify(content, null, 2)}\n`);
  }
}
