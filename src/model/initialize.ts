/**
 * A small checkpoint to begin with: random weights in fp32 that are the same on every machine for the same seed, since they are made
 * of integers. Norms are one; all else is nearly normal with mean 0 and deviation 0.02.
 */
import { ConnitoError } from "../errors.ts";
import { transferBytes } from "../files/reading.ts";
import { sha256, utf8 } from "../protocol/hash.ts";
import { byteTokenizer, byteTokenizerConfig, byteVocabularySize, endOfTextId } from "./byte-tokenizer.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
import { elementsOf } from "./dtype.ts";
import { listTensors, type Part, readArchitecture } from "./families/index.ts";
import { jsonFile, writeCheckpoint } from "./write-checkpoint.ts";

export interface InitializeOptions {
  readonly directory: string;
  /** What config.json is to say; where the tokenizer is the project's own, its special tokens are added. */
  readonly config: Record<string, unknown>;
  /** Any text. */
  readonly seed: string;
  /** The bytes of a tokenizer.json; without it one token a byte. */
  readonly tokenizer?: Uint8Array;
}

/**
 * Writes config.json, tokenizer.json and model.safetensors, and opens what it wrote. Throws `config-invalid`, `unknown-family`,
 * `vocabulary-too-small`, and what writing files throws.
 */
export async function initializeCheckpoint(options: InitializeOptions): Promise<Checkpoint> {
  const { directory, config, seed } = options;
  const architecture = readArchitecture(config);
  const own = options.tokenizer === undefined;
  if (own && architecture.vocabularySize < byteVocabularySize) {
    throw new ConnitoError(
      `a vocabulary of ${architecture.vocabularySize} does not hold the ${byteVocabularySize} tokens of the byte tokenizer`,
      {
        code: "vocabulary-too-small",
        exit: "invalidInput",
        hint: `Use at least ${byteVocabularySize}.`,
      },
    );
  }
  const endOfTextSetting = own ? { eos_token_id: endOfTextId, bos_token_id: endOfTextId } : {};
  await writeCheckpoint({
    directory,
    config: jsonFile({ ...config, ...endOfTextSetting, torch_dtype: "float32" }),
    tokenizer: options.tokenizer ?? jsonFile(byteTokenizer()),
    others: own ? { "tokenizer_config.json": jsonFile(byteTokenizerConfig()) } : {},
    specs: listTensors(architecture),
    dtype: "F32",
    data:
      ({ name, part, shape }) =>
      () =>
        initialValues(`${seed}/${name}`, part, elementsOf(shape) as number),
  });
  return openCheckpoint(directory);
}

const deviation = 0.02;

/** A tensor's first values, in chunks of bytes. */
function* initialValues(seed: string, part: Part | undefined, elements: number): Generator<Uint8Array> {
  const isNorm = /norm$/i.test(part ?? "");
  const fill = generator(seed);
  // The sum of four uniform integers below 2^16 has the deviation 2^16 / sqrt(3).
  const unit = (deviation * Math.sqrt(3)) / 65_536;
  const words = new Uint32Array(2 * Math.min(transferBytes / 4, elements));
  for (let done = 0; done < elements; ) {
    const values = new Float32Array(Math.min(transferBytes / 4, elements - done));
    if (isNorm) values.fill(1);
    else {
      fill(words);
      for (let index = 0; index < values.length; index++) {
        const first = words[2 * index] as number;
        const second = words[2 * index + 1] as number;
        values[index] = ((first & 0xffff) + (first >>> 16) + (second & 0xffff) + (second >>> 16) - 131_070) * unit;
      }
    }
    done += values.length;
    yield new Uint8Array(values.buffer);
  }
}

/** xoshiro128** (Blackman and Vigna), its state the first 16 bytes of the seed's hash: fills an array with uniform u32. */
function generator(seed: string): (words: Uint32Array) => void {
  const start = new DataView(sha256(utf8(`connito/initialize/1 ${seed}`)).buffer);
  const state = [0, 4, 8, 12].map((offset) => start.getInt32(offset, true)) as [number, number, number, number];
  return (words) => {
    let [a, b, c, d] = state;
    for (let index = 0; index < words.length; index++) {
      const product = Math.imul(b, 5);
      words[index] = Math.imul((product << 7) | (product >>> 25), 9);
      const shifted = b << 9;
      c ^= a;
      d ^= b;
      b ^= c;
      a ^= d;
      c ^= shifted;
      d = (d << 11) | (d >>> 21);
    }
    state.splice(0, 4, a, b, c, d);
  };
}
