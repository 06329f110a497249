/**
 * The owner's data for a task: sources are checked and brought here, every document is put on one side, and both sides of each domain are
 * tokenised into shards, once, so that nobody else has to. Stopped at any moment, it goes on at the last shard; what was prepared before
 * from the same content in the same way is taken as it is.
 */
import { createDocumentSet, type DocumentKey, type DocumentSet, documentKey, positionOf } from "../../data/document-set.ts";
import { nothingPrepared, prepareSide } from "../../data/prepare.ts";
import { documents } from "../../data/sources/documents.ts";
import { assertUnchanged, bringSource, type LocalFile } from "../../data/sources/local.ts";
import type { SourceSpec } from "../../data/sources/source.ts";
import { loadTokenizer } from "../../data/tokenizer.ts";
import { openTokenizerPool, type TokenizerPool, tokenTypeOf } from "../../data/tokenizer-pool.ts";
import { ConnitoError } from "../../errors.ts";
import { documentHash } from "../../protocol/canonical.ts";
import { type Hash, sha256, toHex } from "../../protocol/hash.ts";
import type { TokenData } from "../../protocol/token-data.ts";
import { formatBytes, formatCount } from "../../ui/format.ts";
import type { Context } from "../context.ts";
import { openPreparationNotes } from "./preparation-notes.ts";

/** Where a domain's documents come from. A document that is held out anywhere in the task is trained on nowhere. */
export interface DomainSources {
  readonly name: string;
  readonly train: readonly SourceSpec[];
  readonly heldOut: readonly SourceSpec[];
  /** Divided by the hash of each document. */
  readonly split: readonly SourceSpec[];
}

export interface PrepareDataInput {
  readonly domains: readonly DomainSources[];
  /** The part of the documents of split sources that is held out, above 0 and below 1. */
  readonly heldOutShare: number;
  /** The checkpoint's tokenizer.json. */
  readonly tokenizer: Uint8Array;
  /** The model's end-of-text token, if it has one. */
  readonly endOfText?: number | undefined;
  readonly sequenceLength: number;
  /** Bytes of the largest shard; otherwise what is sensible. */
  readonly shardBytes?: number;
  /** Keeps a shard. */
  readonly store: (bytes: Uint8Array) => Promise<Hash>;
  /** Called when all held-out sides are there, before the long work on the others: throws where they cannot do. */
  readonly onHeldOut: (available: readonly number[]) => void;
}

export interface PreparedDomain {
  readonly name: string;
  readonly train: TokenData;
  readonly heldOut: TokenData;
}

type Side = "train" | "heldOut";
type Files = Readonly<Record<"train" | "heldOut" | "split", readonly LocalFile[]>>;

/**
 * Errors: data-missing, data-gated, data-unreachable, data-changed, data-malformed, before anything slow; data-too-short,
 * end-of-text-unknown, tokenizer-invalid, disk-full.
 */
export async function prepareData(
  context: Pick<Context, "workspace" | "progress" | "signal" | "threads">,
  input: PrepareDataInput,
): Promise<PreparedDomain[]> {
  const { workspace, progress, signal, threads } = context;
  const { vocabularySize } = await loadTokenizer(input.tokenizer);
  const files: Files[] = [];
  for (const domain of input.domains) files.push(await bringDomain(context, domain));
  const all = files.flatMap(({ train, heldOut, split }) => [...heldOut, ...split, ...train]);
  assertEndIsKnown(all, input.endOfText);

  progress.start("Reading the sources");
  const { held, characters } = await survey(files, input.heldOutShare, (count) => progress.update(count, "documents"), signal);
  progress.succeed(`${formatCount(characters.documents)} documents read, ${formatCount(held.size)} of them held out`);

  const dtype = tokenTypeOf(Math.max(vocabularySize, (input.endOfText ?? 0) + 1));
  const tokenizer = toHex(sha256(input.tokenizer));
  const bar = tokenizingBar(progress, characters.toTokenize);
  // Its threads start with the first work.
  const pool = openTokenizerPool({ tokenizer: input.tokenizer, dtype }, threads);
  const notes = await openPreparationNotes(workspace.layout.preparation(preparationId(files, input, tokenizer)));
  try {
    const prepared: Record<Side, TokenData>[] = files.map(() => ({}) as Record<Side, TokenData>);
    for (const side of ["heldOut", "train"] as const) {
      for (const [index, domain] of files.entries()) {
        const key = `${index}.${side}`;
        const { done } = notes.find(key);
        const complete = done !== undefined && (await hasShards(workspace, done));
        (prepared[index] as Record<Side, TokenData>)[side] = complete ? done : await prepareOne(key, domain, side);
      }
      if (side === "heldOut") input.onHeldOut(prepared.map(({ heldOut }) => heldOut.sequences));
    }
    await assertUnchanged(all);
    bar.end(prepared);
    return input.domains.map(({ name }, index) => ({ name, ...(prepared[index] as Record<Side, TokenData>) }));
  } finally {
    await pool.close().finally(notes.close);
  }

  async function prepareOne(key: string, domain: Files, side: Side): Promise<TokenData> {
    const { begun } = notes.find(key);
    const from = (await hasShards(workspace, begun)) ? begun : nothingPrepared;
    const name = input.domains[Number(key.split(".")[0])]?.name ?? "";
    const { data, tokens } = await prepareSide({
      files: [...domain[side], ...domain.split],
      keep: sideKeeper(domain, side, held),
      pool: pool as TokenizerPool,
      tokenizer,
      dtype,
      sequenceLength: input.sequenceLength,
      endOfText: input.endOfText,
      shardBytes: input.shardBytes,
      store: input.store,
      save: (shard) => notes.shard(key, shard),
      from,
      onProgress: bar.advance,
      signal,
    });
    if (data === undefined) throw tooShort(name, side, tokens, input.sequenceLength);
    await notes.done(key, data);
    return data;
  }
}

async function bringDomain({ workspace, progress, signal }: Pick<Context, "workspace" | "progress" | "signal">, domain: DomainSources) {
  const bring = async (specs: readonly SourceSpec[]) => {
    const found: LocalFile[] = [];
    for (const spec of specs) {
      progress.start(`Getting ${spec.location.split(/[?#]/)[0]}`, 100);
      const onProgress = (_: string, received: number, total: number | undefined) =>
        progress.update(total === undefined ? 0 : Math.floor((100 * received) / total), formatBytes(received));
      found.push(...(await bringSource(spec, { directory: workspace.layout.sources, signal, onProgress })));
    }
    return found;
  };
  return { train: await bring(domain.train), heldOut: await bring(domain.heldOut), split: await bring(domain.split) };
}

/** Reads every document once: what is held out, how much there is to do, and that nothing is malformed. */
async function survey(domains: readonly Files[], share: number, onDocuments: (count: number) => void, signal: AbortSignal) {
  const held = createDocumentSet();
  let count = 0;
  let toTokenize = 0;
  const read = async (file: LocalFile, take: (key: DocumentKey) => void) => {
    for await (const texts of documents(file)) {
      signal.throwIfAborted();
      for (const text of texts) {
        take(documentKey(text));
        toTokenize += text.length;
      }
      count += texts.length;
      onDocuments(count);
    }
  };
  for (const { train, heldOut, split } of domains) {
    for (const file of heldOut) await read(file, held.add);
    for (const file of split) await read(file, (key) => positionOf(key) < share && held.add(key));
    for (const file of train) await read(file, () => undefined);
  }
  return { held, characters: { documents: count, toTokenize } };
}

function sideKeeper({ heldOut }: Files, side: Side, held: DocumentSet): (key: DocumentKey, file: LocalFile) => boolean {
  if (side === "train") return (key) => !held.has(key);
  return (key, file) => heldOut.includes(file) || held.has(key);
}

/** Everything that the shards depend on. */
function preparationId(domains: readonly Files[], input: PrepareDataInput, tokenizer: Hash): Hash {
  const describe = (files: readonly LocalFile[]) =>
    files.map(({ hash, format, template, endOfText }) => ({ hash, format, template, endOfText }));
  return documentHash({
    format: "connito/preparation/1",
    tokenizer,
    sequenceLength: input.sequenceLength,
    shardBytes: input.shardBytes ?? null,
    endOfText: input.endOfText ?? null,
    heldOutShare: input.heldOutShare,
    domains: domains.map(({ train, heldOut, split }) => ({ train: describe(train), heldOut: describe(heldOut), split: describe(split) })),
  });
}

async function hasShards({ objects }: Context["workspace"], { shards }: Pick<TokenData, "shards">): Promise<boolean> {
  for (const { hash } of shards) if (!(await objects.has(hash))) return false;
  return true;
}

/** Percent of the characters, and how fast they go. */
function tokenizingBar(progress: Context["progress"], total: number) {
  const started = performance.now();
  let done = 0;
  progress.start("Tokenising", 100);
  return {
    advance(characters: number) {
      done += characters;
      const rate = done / 1e6 / ((performance.now() - started) / 1000);
      progress.update(Math.min(100, Math.floor((100 * done) / Math.max(total, 1))), `${rate.toFixed(1)} million characters/s`);
    },
    end(domains: readonly Record<Side, TokenData>[]) {
      const count = (side: Side) => formatCount(domains.reduce((sum, domain) => sum + domain[side].sequences, 0));
      progress.succeed(`${count("train")} sequences to train on, ${count("heldOut")} held out`);
    },
  };
}

function assertEndIsKnown(files: readonly LocalFile[], endOfText: number | undefined): void {
  const wanting = files.find((file) => file.endOfText);
  if (wanting === undefined || endOfText !== undefined) return;
  throw new ConnitoError(`The model's config.json names no eos_token_id, which is to follow each document of ${wanting.location}.`, {
    code: "end-of-text-unknown",
    exit: "invalidInput",
    hint: "Add #end=none to the source, or eos_token_id to config.json.",
  });
}

function tooShort(name: string, side: Side, tokens: number, sequenceLength: number): ConnitoError {
  const what = side === "train" ? "training" : "held-out";
  return new ConnitoError(`The ${what} data of ${name} have ${tokens} tokens, fewer than one sequence of ${sequenceLength + 1}.`, {
    code: "data-too-short",
    exit: "invalidInput",
    hint: "Give more data, or a smaller data.sequenceLength. A document that is held out is not trained on: with the same source for both nothing is left.",
  });
}
