/**
 * Texts to learn from, made up: words of a few syllables that follow each other by fixed chances, another language for each seed. A small model has
 * something to learn for hundreds of steps, and nothing has to be downloaded.
 */
import { hashFields, utf8 } from "../protocol/hash.ts";
import { stream } from "../protocol/random.ts";

const syllables = ["ka", "ru", "mi", "to", "sen", "la", "vor", "di", "ne", "sha", "pel", "go", "ith", "ur", "ba", "fi"];
const words = 160;
const successors = 6;

/** About `characters` of the language of this seed. */
export function inventText(seed: string, characters: number): string {
  const random = stream(hashFields("connito/simulation-language/1", utf8(seed)));
  const vocabulary = Array.from({ length: words }, () =>
    Array.from({ length: 1 + random.uniform(3) }, () => syllables[random.uniform(syllables.length)] as string).join(""),
  );
  const next = vocabulary.map(() => Array.from({ length: successors }, () => random.uniform(words)));
  const sentences: string[] = [];
  let length = 0;
  let word = 0;
  while (length < characters) {
    const sentence: string[] = [];
    for (let count = 4 + random.uniform(8); count > 0; count--) {
      sentence.push(vocabulary[word] as string);
      // The first successors are likelier, as the product of two draws is small more often than large.
      const choice = Math.floor((random.uniform(successors) * (1 + random.uniform(successors))) / (successors + 1));
      word = next[word]?.[choice] as number;
    }
    const text = `${sentence.join(" ")}.\n\n`;
    sentences.push(text);
    length += text.length;
  }
  return sentences.join("");
}
