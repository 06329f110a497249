/** A process that prepares a source, of the built code, its shards under their hashes in a directory, and says what came of it, how long it took and how much memory at most: one line of JSON. */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const { source, tokenizerFile, directory, sequenceLength, threads } = JSON.parse(process.argv[2]);
const dist = (path) => import(new URL(`../../dist/${path}`, import.meta.url).href);
const { nothingPrepared, prepareSide } = await dist("data/prepare.js");
const { bringSource } = await dist("data/sources/local.js");
const { parseSource } = await dist("data/sources/source.js");
const { openTokenizerPool } = await dist("data/tokenizer-pool.js");

const tokenizer = await readFile(tokenizerFile);
const hashOf = (bytes) => createHash("sha256").update(bytes).digest("hex");
const files = await bringSource(parseSource(`${source}#end=none`), { directory });
const began = performance.now();
const pool = openTokenizerPool({ tokenizer, dtype: "u16" }, threads);
const { data, tokens } = await prepareSide({
  files,
  keep: () => true,
  pool,
  tokenizer: hashOf(tokenizer),
  dtype: "u16",
  sequenceLength,
  store: async (shard) => {
    const hash = hashOf(shard);
    await writeFile(join(directory, hash), shard);
    return hash;
  },
  save: async () => undefined,
  from: nothingPrepared,
  onProgress: () => undefined,
  signal: new AbortController().signal,
});
const seconds = (performance.now() - began) / 1000;
await pool.close();
process.stdout.write(`${JSON.stringify({ data, tokens, seconds, peakBytes: process.resourceUsage().maxRSS * 1024 })}\n`);
