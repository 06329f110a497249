/** The built-in engine's side of `npm run bench -- train`: the same job, lines and batches as peer.py. */
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { openTrainer } from "../../src/engine/trainer.ts";
import { openCheckpoint } from "../../src/model/checkpoint.ts";
import { indexCheckpoint } from "../../src/model/index-checkpoint.ts";
import { readPieceFrom } from "../../src/model/pieces.ts";
import { loadWeights } from "../../src/model/weights.ts";
import { createRandom, randomSequences } from "../random.ts";
import type { Answer, Job } from "./job.ts";

function* batches({ batchSequences, sequenceLength, architecture }: Job): Generator<Int32Array[]> {
  const random = createRandom();
  for (;;) yield randomSequences(batchSequences, sequenceLength, architecture.vocabularySize, random);
}

const peakBytes = () => process.resourceUsage().maxRSS * 1024;
const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const job = JSON.parse((await lines.next()).value as string) as Job;
const importedBytes = peakBytes();
const checkpoint = await openCheckpoint(dirname(job.checkpoint));
const { manifest, locations } = await indexCheckpoint(checkpoint);
const readPiece = readPieceFrom((hash) => locations.get(hash));
const weights = await loadWeights({ pieces: manifest.pieces, readPiece, architecture: job.architecture });
const trainer = await openTrainer({ ...job, weights, trainable: job.trained });
const source = batches(job);
answer({ ready: true });
for await (const line of lines) {
  const times: number[] = [];
  const losses: number[] = [];
  const { steps } = JSON.parse(line) as { steps: number };
  for (let step = 0; step < steps; step++) {
    const sequences = source.next().value as Int32Array[];
    const started = performance.now();
    losses.push((await trainer.step([sequences])).loss);
    times.push(performance.now() - started);
  }
  answer({ times, losses, peakBytes: peakBytes(), importedBytes } satisfies Answer);
}
trainer.dispose();
