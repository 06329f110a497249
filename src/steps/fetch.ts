/**
 * Getting bytes that the chain, the task or a manifest names by hash: from the workspace if they are there, else from peers, one
 * after another, verified before they are kept. Nothing that a peer says is believed.
 */

import { setMaxListeners } from "node:events";
import { ConnitoError } from "../errors.ts";
import type { Source } from "../exchange/exchange.ts";
import { openSource } from "../exchange/exchange.ts";
import { fetchObject } from "../exchange/fetch-object.ts";
import type { Hash } from "../protocol/hash.ts";
import type { Task } from "../protocol/task.ts";
import { pause } from "../waiting.ts";
import { participantsAt } from "./chain-records.ts";
import type { Context } from "./context.ts";

/** Largest configuration, tokenizer, scores or task document that is accepted. DeepSeek-V3's tokenizer.json is 8 MB. */
export const maximumDocumentBytes = 64 * 2 ** 20;

/** Opens a peer. Requests to `http` peers are signed for the receiving hotkey and bound to a recent block. */
export function sourceAt(context: Context, locator: string, receiver?: string): Source {
  return openSource(locator, {
    signer: context.signer,
    blockNumber: async () => (await context.clock.now()).finalized.number,
    ...(receiver === undefined ? {} : { receiver }),
  });
}

/**
 * Where the model, the task's documents and data are found as the chain stands now: the peers named by the operator, then validators by
 * stake, then the owner. Before the task is known nobody can be told to be a validator by it, and all with a permit are asked. Where a validator made what is
 * looked for, it comes first.
 */
export async function peerSources(context: Context, task?: Pick<Task, "validators">, maker?: string): Promise<Source[]> {
  const { finalized } = await context.clock.now();
  const participants = await participantsAt(context.chain, context.netuid, task, finalized.hash);
  const named = context.peers.map((locator) => sourceAt(context, locator));
  const validators = [...participants.validators]
    .filter(({ hotkey, record }) => record !== undefined && record.locator !== "" && hotkey !== context.signer.address)
    .sort((a, b) => (a.stake === b.stake ? 0 : a.stake > b.stake ? -1 : 1));
  const sourcesOf = (list: typeof validators) => list.map(({ hotkey, record }) => sourceAt(context, record?.locator ?? "", hotkey));
  const makers = sourcesOf(validators.filter(({ hotkey }) => hotkey === maker));
  const others = sourcesOf(validators.filter(({ hotkey }) => hotkey !== maker));
  const owner =
    participants.owner !== undefined && participants.owner !== context.signer.address && participants.ownerRecord?.locator
      ? [sourceAt(context, participants.ownerRecord.locator, participants.owner)]
      : [];
  return [...makers, ...named, ...others, ...owner];
}

export interface Wanted {
  readonly hash: Hash;
  /** Exact length where a manifest tells it; otherwise a limit applies. */
  readonly bytes?: number;
  readonly maximumBytes?: number;
  /** What it is, for messages: "piece model.embed_tokens.weight". */
  readonly what: string;
}

/** Makes sure that the object is in the workspace. Returns the bytes that had to be fetched, 0 when it was there. */
export async function provideObject(
  context: Context,
  sources: readonly Source[],
  wanted: Wanted,
  path = `/objects/${wanted.hash}`,
): Promise<number> {
  const { objects } = context.workspace;
  if (await objects.has(wanted.hash)) return 0;
  if (sources.length === 0) throw noSources(wanted.what);
  const into = await objects.temporaryPath(wanted.hash);
  const fetched = await fetchObject({
    sources,
    hash: wanted.hash,
    path,
    into,
    ...(wanted.bytes === undefined ? {} : { bytes: wanted.bytes }),
    maximumBytes: wanted.bytes ?? wanted.maximumBytes ?? maximumDocumentBytes,
    signal: context.signal,
    onFault: ({ locator, error }) => reportLie(context, locator, error),
  });
  await objects.adopt(into, wanted.hash, { verified: true });
  return fetched.bytes;
}

const lies = new Set(["object-hash-mismatch", "object-oversize", "manifest-root-mismatch", "manifest-invalid"]);

/** A peer that delivers something else than was asked for; merely not having it, or not answering, is no lie. */
export function isLie(error: unknown): error is ConnitoError {
  return error instanceof ConnitoError && lies.has(error.code);
}

/** Says which peer lied, also where another one then delivers: its operator, or its disk, is worth a look. */
export function reportLie({ progress }: Pick<Context, "progress">, locator: string, error: unknown): void {
  if (isLie(error)) progress.note(`Passed over ${locator}: ${error.message}`, { code: error.code, peer: locator });
}

function noSources(what: string): ConnitoError {
  return new ConnitoError(`Nobody is known who could deliver ${what}.`, {
    code: "no-peers",
    exit: "network",
    retryable: true,
    hint: "Wait until a validator or the owner has announced itself on the chain, or name one with --peer.",
  });
}

/** How long the only peer that was asked may take before another is asked beside it, and how long all of them together. */
const overlapMilliseconds = 250;
const smallMilliseconds = 20_000;

/**
 * Something small, from the first of the peers that delivers it; undefined where none does in time. Whoever is slow holds up nobody: the next is asked a moment
 * later, and what is not needed any more is stopped.
 */
export async function firstDelivered<T>(
  sources: readonly Source[],
  ask: (source: Source, signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
  { within = smallMilliseconds, overlap = overlapMilliseconds }: { readonly within?: number; readonly overlap?: number } = {},
): Promise<T | undefined> {
  const enough = new AbortController();
  const timer = setTimeout(() => enough.abort(), within);
  const either = AbortSignal.any([signal, enough.signal]);
  setMaxListeners(0, either);
  let found: T | undefined;
  const keep = (delivered: T) => {
    found ??= delivered;
    enough.abort();
  };
  const asked: Promise<void>[] = [];
  try {
    for (const source of sources) {
      if (either.aborted) break;
      const failed = ask(source, either).then(keep, () => undefined);
      asked.push(failed);
      await Promise.race([failed, pause(overlap, either).catch(() => undefined)]);
    }
    await Promise.all(asked);
  } finally {
    clearTimeout(timer);
  }
  signal.throwIfAborted();
  return found;
}

/**
 * Runs the job for every item, at most `limit` at a time. The first failure is thrown once the jobs under way have ended: what they get
 * is kept, and nobody works on when the caller cleans up.
 */
export async function inParallel<T>(items: readonly T[], limit: number, job: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  const worker = async () => {
    while (failure === undefined && next < items.length) {
      const item = items[next++] as T;
      try {
        await job(item);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
}
