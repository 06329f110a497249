/** A thread that turns texts into tokens, for tokenizer-pool.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { ConnitoError } from "../errors.ts";
import type { TokenType } from "../protocol/token-data.ts";
import { loadTokenizer } from "./tokenizer.ts";

export interface TokenizeSetup {
  readonly tokenizer: Uint8Array;
  readonly dtype: TokenType;
}

export interface TokenizeJob {
  readonly id: number;
  readonly texts: readonly string[];
  /** A token that follows each text. */
  readonly end?: number | undefined;
}

export type TokenizeAnswer =
  | { readonly id: number; readonly tokens: Uint16Array | Uint32Array }
  | { readonly id: number; readonly failure: { readonly message: string; readonly code?: string; readonly hint?: string } };

const { tokenizer: bytes, dtype } = workerData as TokenizeSetup;
// Loaded once; where that fails, every job says so.
const loading = loadTokenizer(bytes);
loading.catch(() => undefined);

parentPort?.on("message", async ({ id, texts, end }: TokenizeJob) => {
  try {
    const tokenizer = await loading;
    const parts = texts.map((text) => tokenizer.encode(text));
    const length = parts.reduce((sum, part) => sum + part.length + (end === undefined ? 0 : 1), 0);
    const tokens = dtype === "u16" ? new Uint16Array(length) : new Uint32Array(length);
    let at = 0;
    for (const part of parts) {
      tokens.set(part, at);
      at += part.length;
      if (end !== undefined) tokens[at++] = end;
    }
    parentPort?.postMessage({ id, tokens } satisfies TokenizeAnswer, [tokens.buffer]);
  } catch (error) {
    const { message } = error as Error;
    const known = error instanceof ConnitoError ? { code: error.code, hint: error.hint } : {};
    parentPort?.postMessage({ id, failure: { message, ...known } } satisfies TokenizeAnswer);
  }
});
