/**
 * Tokenising on several cores. Each text is encoded for itself, as loadTokenizer's encode does it, so that the tokens do not depend on the
 * number of threads, and answers come in the order of the questions. A few jobs a thread are under way and no more: memory stays flat.
 */
import type { Worker } from "node:worker_threads";
import { ConnitoError } from "../errors.ts";
import type { Tokens, TokenType } from "../protocol/token-data.ts";
import { startThread } from "../threads.ts";
import type { TokenizeAnswer, TokenizeJob, TokenizeSetup } from "./tokenizer-worker.ts";

export interface TokenizerPool {
  /**
   * The tokens of each batch of texts, one after another, in the order of the batches; `end` follows every text. Batches are taken only as
   * fast as they are tokenised. Errors: tokenizer-invalid.
   */
  encode<Batch extends TextBatch>(batches: AsyncIterable<Batch>): AsyncGenerator<{ readonly batch: Batch; readonly tokens: Tokens }>;
  close(): Promise<void>;
}

export interface TextBatch {
  readonly texts: readonly string[];
  readonly end?: number | undefined;
}

/** A third of what Node has: new strings and tokens fill it in no time, and what lies in it is nearly all garbage. */
const resourceLimits = { maxYoungGenerationSizeMb: 16 };
/** Jobs given to a thread before its first answer is there: one to work on, one to go on with. */
const jobsPerThread = 2;

export function openTokenizerPool(setup: TokenizeSetup, threads: number): TokenizerPool {
  /** Started when there is work for them: little text needs no more than one. */
  const workers: Worker[] = [];
  const waiting = new Map<number, { resolve: (tokens: Tokens) => void; reject: (error: unknown) => void }>();
  let asked = 0;
  let closed = false;

  const fail = (error: unknown) => {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  function start(): Worker {
    const worker = startThread("tokenizer-worker", import.meta.url, setup, resourceLimits);
    worker.on("message", (answer: TokenizeAnswer) => {
      const job = waiting.get(answer.id);
      waiting.delete(answer.id);
      if ("tokens" in answer) job?.resolve(answer.tokens);
      else job?.reject(failureOf(answer.failure));
    });
    worker.on("error", fail);
    worker.on("exit", () => {
      if (!closed) fail(new Error("a tokenizer thread ended"));
    });
    return worker;
  }

  function ask({ texts, end }: TextBatch): Promise<Tokens> {
    const id = asked++;
    const answer = new Promise<Tokens>((resolve, reject) => waiting.set(id, { resolve, reject }));
    // Looked at when its turn comes; until then a failure is not unhandled.
    answer.catch(() => undefined);
    const thread = id % threads;
    workers[thread] ??= start();
    workers[thread]?.postMessage({ id, texts, end } satisfies TokenizeJob);
    return answer;
  }

  return {
    async *encode(batches) {
      const underWay: { batch: TextBatch; answer: Promise<Tokens> }[] = [];
      const next = async () => {
        const { batch, answer } = underWay.shift() as (typeof underWay)[number];
        return { batch: batch as never, tokens: await answer };
      };
      for await (const batch of batches) {
        underWay.push({ batch, answer: ask(batch) });
        if (underWay.length >= jobsPerThread * threads) yield await next();
      }
      while (underWay.length > 0) yield await next();
    },
    async close() {
      closed = true;
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}

function failureOf({ message, code, hint }: { message: string; code?: string; hint?: string }): Error {
  if (code === undefined) return new Error(message);
  return new ConnitoError(message, { code, exit: "invalidInput", hint: hint ?? "" });
}

/** The narrowest type that takes every token. */
export function tokenTypeOf(vocabularySize: number): TokenType {
  return vocabularySize <= 1 << 16 ? "u16" : "u32";
}
