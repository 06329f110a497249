/**
 * What `doctor` looks at of the task's data: whether the documents that list the shards can be had, which shards are here, and whether their
 * bytes are still what their hashes say.
 */
import { ConnitoError } from "../../errors.ts";
import type { Hash } from "../../protocol/hash.ts";
import type { Task } from "../../protocol/task.ts";
import { parseTokenData, shardBytes, type TokenData } from "../../protocol/token-data.ts";
import { formatBytes } from "../../ui/format.ts";
import type { ObjectStore } from "../../workspace/objects.ts";
import { type Finding, failed, ok, unknown, warning } from "./finding.ts";
import type { Standing } from "./network.ts";

export interface DataPlaces {
  /** The participant's own objects; nothing is written. */
  readonly objects: Pick<ObjectStore, "has" | "absent" | "locate" | "read" | "stream">;
  /** A document's bytes from whoever delivers it, checked; undefined where nobody does. */
  readonly fetch: (hash: Hash) => Promise<Uint8Array | undefined>;
  readonly signal: AbortSignal;
}

type Side = "train" | "heldOut";

const sides = { train: "training data", heldOut: "held-out data" } as const;
/** A miner has no business with what it is measured on. */
const sidesOf: Readonly<Record<NonNullable<Standing["role"]>, readonly Side[]>> = {
  miner: ["train"],
  validator: ["train", "heldOut"],
  owner: ["train", "heldOut"],
};

export async function checkData(task: Task, role: Standing["role"], places: DataPlaces): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const side of sidesOf[role ?? "miner"]) findings.push(await checkSide(task, side, role === "owner", places));
  return findings;
}

/** One side of all domains. The owner has to have all of it; the others fetch what they come to. */
async function checkSide({ data: { domains } }: Task, side: Side, isOwner: boolean, places: DataPlaces): Promise<Finding> {
  const check = sides[side];
  const documents = await Promise.all(domains.map((domain) => documentOf(domain[side], places)));
  const away = domains.filter((_, index) => documents[index] === undefined).map(({ name }) => name);
  if (away.length > 0) {
    const found = `nobody delivers the list of shards of ${away.join(", ")}`;
    if (isOwner) return failed(check, "storage", found, restore);
    // Held-out data may well be given from hand to hand only.
    const advice =
      side === "train"
        ? "Name somebody who has it with --peer, or try again later."
        : "Ask the subnet's owner for it, and name the place with --peer.";
    return warning(check, found, advice);
  }
  const state = await shardsHere(documents as TokenData[], places);
  const found = `${state.here} of ${shardCount(state.shards)} here (${formatBytes(state.bytesHere)})`;
  const [corrupt] = state.corrupt;
  if (corrupt !== undefined) {
    const wrong = `${found}, ${state.corrupt.length} of them not what their hashes say, such as ${corrupt}`;
    return isOwner
      ? failed(check, "storage", wrong, `Delete them, and look at the disk. ${restore}`)
      : warning(check, wrong, "They are fetched again when they are wanted. Look at the disk.");
  }
  if (state.here === state.shards) return ok(check, `${found}, all as their hashes say`);
  if (isOwner) return failed(check, "storage", found, restore);
  const rest = `${formatBytes(state.bytes - state.bytesHere)} are fetched as they are wanted`;
  return state.here === 0
    ? unknown(check, `${shardCount(state.shards)}, ${rest}`)
    : ok(check, `${found}, all as their hashes say; ${rest}`);
}

const shardCount = (shards: number): string => `${shards} ${shards === 1 ? "shard" : "shards"}`;

const restore = "Run `connito task create` with the same sources and --state-dir again: it makes what is missing.";

async function documentOf(hash: Hash, { objects, fetch }: DataPlaces): Promise<TokenData | undefined> {
  const bytes = (await objects.has(hash)) ? await objects.read(hash).catch(() => undefined) : undefined;
  const found = bytes ?? (await fetch(hash));
  return found === undefined ? undefined : parseTokenData(JSON.parse(Buffer.from(found).toString("utf8")));
}

async function shardsHere(documents: readonly TokenData[], { objects, signal }: DataPlaces) {
  const total = { shards: 0, here: 0, bytes: 0, bytesHere: 0, corrupt: [] as string[] };
  for (const document of documents) {
    const away = new Set(await objects.absent(document.shards.map(({ hash }) => hash)));
    for (const [index, { hash }] of document.shards.entries()) {
      const bytes = shardBytes(document, index);
      total.shards += 1;
      total.bytes += bytes;
      if (away.has(hash)) continue;
      total.here += 1;
      total.bytesHere += bytes;
      const file = (await objects.locate(hash))?.file ?? hash;
      if (!(await isWhole(objects, hash, signal))) total.corrupt.push(file);
    }
  }
  return total;
}

async function isWhole(objects: DataPlaces["objects"], hash: Hash, signal: AbortSignal): Promise<boolean> {
  try {
    for await (const _ of objects.stream(hash)) signal.throwIfAborted();
    return true;
  } catch (error) {
    if (error instanceof ConnitoError && error.code.startsWith("object-")) return false;
    throw error;
  }
}
