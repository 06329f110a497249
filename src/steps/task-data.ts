/**
 * A task's token data on this machine: the document that the task names by hash, and its shards, fetched from peers as they are
 * wanted and checked before they are read.
 */
import { openSequences, type SequenceReader } from "../data/sequence-reader.ts";
import type { Hash } from "../protocol/hash.ts";
import { checkTokenData, parseTokenData, shardBytes, type TokenData } from "../protocol/token-data.ts";
import type { Context } from "./context.ts";
import { inParallel, maximumDocumentBytes, peerSources, provideObject } from "./fetch.ts";
import type { Membership } from "./membership.ts";

/** Shards fetched at the same time. */
const parallelFetches = 4;

/** The data document with this hash, if the workspace has it. */
export async function findTokenData({ workspace }: Pick<Context, "workspace">, hash: Hash): Promise<TokenData | undefined> {
  if (!(await workspace.objects.has(hash))) return undefined;
  return parseTokenData(JSON.parse(Buffer.from(await workspace.objects.read(hash)).toString("utf8")));
}

/** The data document, fetched if need be. Errors: token-data-invalid, the exchange's. */
export async function provideTokenData(context: Context, membership: Membership, hash: Hash, what: string): Promise<TokenData> {
  const sources = await peerSources(context, membership.task);
  await provideObject(context, sources, { hash, maximumBytes: maximumDocumentBytes, what });
  return (await findTokenData(context, hash)) as TokenData;
}

/** Fetches a shard if need be; gives the bytes that had to come. */
async function provideShard(context: Context, membership: Membership, data: TokenData, shard: number, what: string): Promise<number> {
  const hash = data.shards[shard]?.hash as Hash;
  if (await context.workspace.objects.has(hash)) return 0;
  return provideObject(context, await peerSources(context, membership.task), { hash, bytes: shardBytes(data, shard), what });
}

/** Fetches all shards that are missing. */
export async function provideShards(
  context: Context,
  membership: Membership,
  data: TokenData,
  what: string,
): Promise<{ readonly objects: number; readonly bytes: number }> {
  let [objects, bytes] = [0, 0];
  await inParallel([...data.shards.keys()], parallelFetches, async (shard) => {
    context.signal.throwIfAborted();
    const fetched = await provideShard(context, membership, data, shard, `shard ${shard} of ${what}`);
    bytes += fetched;
    objects += fetched > 0 ? 1 : 0;
  });
  return { objects, bytes };
}

export interface TaskSequences extends SequenceReader {
  /** Where a shard lies, fetched and checked. */
  locate(shard: number): Promise<{ readonly file: string; readonly offset: number }>;
  /** Begins to fetch a shard that will be wanted; a failure shows when it is. */
  expect(shard: number): void;
}

/** The data's sequences. Throws token-data-mismatch where they are not of this model or task. */
export async function openTaskData(
  context: Context,
  membership: Membership,
  { hash, tokenizer, what }: { readonly hash: Hash; readonly tokenizer: Hash; readonly what: string },
): Promise<TaskSequences> {
  const data = await provideTokenData(context, membership, hash, what);
  checkTokenData(data, { tokenizer, sequenceLength: membership.task.data.sequenceLength }, what);
  const { objects } = context.workspace;
  const verified = new Set<number>();
  const locate = async (shard: number) => {
    const { hash: name } = data.shards[shard] as TokenData["shards"][number];
    await provideShard(context, membership, data, shard, `shard ${shard} of ${what}`);
    // Fetched bytes were checked, but perhaps long ago: a disk that changed them must not teach the model. What is bad is dropped, and comes anew next time.
    if (!verified.has(shard)) for await (const _ of objects.stream(name)) context.signal.throwIfAborted();
    verified.add(shard);
    return (await objects.locate(name)) as { file: string; offset: number };
  };
  const reader = openSequences(data, locate);
  const expected = new Set<number>();
  return {
    ...reader,
    locate,
    expect(shard) {
      if (expected.has(shard)) return;
      expected.add(shard);
      provideShard(context, membership, data, shard, `shard ${shard} of ${what}`).catch(() => expected.delete(shard));
    },
  };
}
