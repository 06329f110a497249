/**
 * Where things lie in a state directory. Nothing else builds these paths by hand.
 *
 *     state.json            what this directory is, and in which format
 *     lock                  who works in it now
 *     journal.jsonl         what was about to be done, and what was done
 *     task.json             the task this participant follows
 *     secrets/NAME          salts; readable by the owner only
 *     objects/ab/HASH       bytes by their SHA-256
 *     partial/HASH          downloads that can be resumed
 *     views/ID.json         pieces that lie in files elsewhere
 *     submissions/ROOT      artifacts, one's own and fetched ones, by artifact root
 *     manifests/ROOT.json   manifests by the root that they must have
 *     slice.json            the slice that was last whole
 *     hashes.log            hashes computed before: of pieces of checkpoints, of stand-ins made from them
 *     sources/              an owner's data that were downloaded; may be removed once the task is made
 *     preparations/ID.jsonl how far an owner's data are tokenised
 *     measurements/ID.json  what experts did on an owner's data, and which stand-ins were made for that
 *     cycles/N/NAME         what a cycle needs and leaves: assignment, optimizer state, reports
 */
import { join, resolve } from "node:path";
import { ConnitoError } from "../errors.ts";
import type { Hash } from "../protocol/hash.ts";
import { isHash } from "../protocol/hash.ts";

export interface Layout {
  readonly root: string;
  readonly marker: string;
  readonly lock: string;
  readonly journal: string;
  readonly task: string;
  readonly secrets: string;
  readonly objects: string;
  readonly partial: string;
  readonly views: string;
  readonly submissions: string;
  readonly cycles: string;
  readonly hashes: string;
  readonly slice: string;
  readonly manifests: string;
  readonly sources: string;
  /** Path of an object kept here. */
  object(hash: Hash): string;
  /** Path of a download under way. */
  partialObject(hash: Hash): string;
  /** Path of an artifact by its artifact root. */
  submission(root: Hash): string;
  /** Path of a manifest by its root. */
  manifest(root: Hash): string;
  /** Path of the notes of a preparation of data. */
  preparation(id: Hash): string;
  /** Path of a measurement of experts. */
  measurement(id: Hash): string;
  /** Directory of a cycle, or a file in it. */
  cycle(cycle: number, name?: string): string;
  /** Path of a secret. */
  secret(name: string): string;
}

/** The layout of the state directory `directory`; touches no file. */
export function layoutOf(directory: string): Layout {
  const root = resolve(directory);
  const objects = join(root, "objects");
  const partial = join(root, "partial");
  const submissions = join(root, "submissions");
  const cycles = join(root, "cycles");
  const manifests = join(root, "manifests");
  const secrets = join(root, "secrets");
  return {
    root,
    marker: join(root, "state.json"),
    lock: join(root, "lock"),
    journal: join(root, "journal.jsonl"),
    task: join(root, "task.json"),
    secrets,
    objects,
    partial,
    views: join(root, "views"),
    submissions,
    cycles,
    hashes: join(root, "hashes.log"),
    slice: join(root, "slice.json"),
    manifests,
    sources: join(root, "sources"),
    object: (hash) => join(objects, checkedHash(hash).slice(0, 2), hash),
    partialObject: (hash) => join(partial, checkedHash(hash)),
    submission: (hash) => join(submissions, checkedHash(hash)),
    manifest: (hash) => join(manifests, `${checkedHash(hash)}.json`),
    preparation: (id) => join(root, "preparations", `${checkedHash(id)}.jsonl`),
    measurement: (id) => join(root, "measurements", `${checkedHash(id)}.json`),
    cycle: (cycle, name) => {
      if (!Number.isSafeInteger(cycle) || cycle < 0) throw unfit(String(cycle), "a cycle number");
      return name === undefined ? join(cycles, String(cycle)) : join(cycles, String(cycle), checkedName(name));
    },
    secret: (name) => join(secrets, checkedName(name)),
  };
}

// Names end up in paths, and some of them come from other participants: a hash or a plain name and nothing else.
function checkedHash(hash: string): Hash {
  if (!isHash(hash)) throw unfit(hash, "a hash");
  return hash;
}

function checkedName(name: string): string {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(name)) throw unfit(name, "a plain file name");
  return name;
}

function unfit(value: unknown, wanted: string): ConnitoError {
  return new ConnitoError(`${JSON.stringify(value).slice(0, 100)} is not ${wanted}`, {
    code: "name-unfit",
    exit: "invalidInput",
    hint: "Letters, digits, dot, dash and underscore make a name; 64 lower-case hexadecimal digits make a hash.",
  });
}
