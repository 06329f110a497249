/**
 * Groups' gradients among validators: whoever was drawn to score a group computes its gradient and shows it under its hash; the others
 * take the one that more than half of the group's scoring stake stands behind.
 */

import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { verifySignature } from "../../chain/signer.ts";
import { ConnitoError } from "../../errors.ts";
import { collectBytes, type Source } from "../../exchange/exchange.ts";
import { openFile, readInto } from "../../files/reading.ts";
import { makeDirectory, replaceFile, writeAll } from "../../files/replacing.ts";
import { allFinite } from "../../kernels/finite.ts";
import { fromFloat32 } from "../../model/dtype.ts";
import type { Tensors } from "../../model/tensors.ts";
import {
  type GroupOutcome,
  type GroupResult,
  groupResultMessage,
  maximumGroupResultBytes,
  parseGroupResult,
  type SignedGroupResult,
} from "../../protocol/group-result.ts";
import { fromHex, type Hash, toHex } from "../../protocol/hash.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import type { Workspace } from "../../workspace/workspace.ts";
import { participantsAt, type Validator } from "../chain-records.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { firstDelivered, peerSources, provideObject, sourceAt } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { publishFile, publishObjects } from "../publish.ts";
import { noteGradient } from "./gradients.ts";
import type { GroupGradient } from "./merge-groups.ts";

export function groupResultPath(workspace: Workspace, cycle: number, group: number, validator: string): string {
  return workspace.layout.cycle(cycle, `group-${group}-${validator}.json`);
}

/** The path of a group's result on the exchange. */
function exchangePath(cycle: number, group: number, validator: string): string {
  return `/groups/${cycle}/${group}/${validator}.json`;
}

/** What this validator made of a group: what it says of it, and the gradient as it is kept. */
export interface KeptResult {
  readonly outcome: GroupOutcome;
  readonly kept: GroupGradient;
}

/** Keeps what this validator made of a group. */
export async function keepGroupResult(
  context: Context,
  view: CycleView,
  { group, contributors, gradient }: GroupGradient,
): Promise<KeptResult> {
  const hash = contributors.length === 0 ? null : await keepGradient(context, view, group, gradient);
  const kept = hash === null ? gradient : await storedGradient(context, hash, gradient.sizes);
  return { outcome: { contributors, gradient: hash }, kept: { group, contributors, gradient: kept } };
}

/** Signs and shows it. */
export async function publishGroupResult(
  context: Context,
  { taskHash: task }: Membership,
  view: CycleView,
  { outcome, kept: { group } }: KeptResult,
): Promise<void> {
  const { address: validator } = context.signer;
  const result: GroupResult = { format: "connito/group-result/1", task, cycle: view.cycle, base: view.base, group, validator, ...outcome };
  const signed: SignedGroupResult = { result, signature: toHex(context.signer.sign(groupResultMessage(result))) };
  const file = groupResultPath(context.workspace, view.cycle, group, validator);
  await writeJson(file, signed);
  if (outcome.gradient !== null) await publishObjects(context, [outcome.gradient]);
  await publishFile(context, exchangePath(view.cycle, group, validator), file);
}

/** What this validator made of a group, if it has computed it. */
export async function findGroupResult({ workspace, signer }: Context, cycle: number, group: number): Promise<GroupResult | undefined> {
  return (await readJson<SignedGroupResult>(groupResultPath(workspace, cycle, group, signer.address)))?.result;
}

/** How long a scorer may take for its result: less than a block, with each of which it is asked again. */
const resultMilliseconds = 10_000;

/** What the scorers of a group say of it, as far as they can be asked where they are found now, within seconds; each kept here, with its signature checked. */
export async function collectGroupResults(
  context: Context,
  membership: Membership,
  view: CycleView,
  group: number,
  scorers: readonly Validator[],
): Promise<GroupResult[]> {
  // Not as they were when the cycle began: in its first cycle nobody has said yet where it serves.
  const { finalized } = await context.clock.now();
  const { validators } = await participantsAt(context.chain, context.netuid, membership.task, finalized.hash);
  const results = await Promise.all(
    scorers.map(async ({ hotkey }): Promise<GroupResult | undefined> => {
      const file = groupResultPath(context.workspace, view.cycle, group, hotkey);
      const kept = await readJson<SignedGroupResult>(file);
      if (kept !== undefined) return kept.result;
      const record = validators.find((validator) => validator.hotkey === hotkey)?.record;
      if (!record?.locator || hotkey === context.signer.address) return undefined;
      const ask = (source: Source, signal: AbortSignal) =>
        fetchGroupResult({ ...context, signal }, membership, view, source, group, hotkey);
      const signed = await firstDelivered([sourceAt(context, record.locator, hotkey)], ask, context.signal, {
        within: resultMilliseconds,
      });
      if (signed !== undefined) await writeJson(file, signed);
      return signed?.result;
    }),
  );
  return results.filter((result) => result !== undefined);
}

async function fetchGroupResult(
  { signal }: Pick<Context, "signal">,
  { taskHash: task }: Membership,
  { cycle, base }: CycleView,
  source: Source,
  group: number,
  validator: string,
): Promise<SignedGroupResult> {
  const stream = await source.get(exchangePath(cycle, group, validator), { maximumBytes: maximumGroupResultBytes, signal });
  const document: unknown = JSON.parse(Buffer.from(await collectBytes(stream, maximumGroupResultBytes)).toString("utf8"));
  const signed = parseGroupResult(document, { task, cycle, base, group, validator });
  if (await verifySignature(groupResultMessage(signed.result), fromHex(signed.signature), validator)) return signed;
  throw new Error(`${source.locator} delivered a group's result that ${validator} did not sign`);
}

/** A gradient that scorers agreed on, fetched under its hash. `sizes` are those of the group's trained tensors, in canonical order. @throws group-result-invalid; what fetching throws */
export async function fetchGradient(
  context: Context,
  { task }: Membership,
  hash: Hash,
  sizes: ReadonlyMap<string, number>,
): Promise<Tensors> {
  const bytes = 4 * [...sizes.values()].reduce((sum, length) => sum + length, 0);
  await provideObject(context, await peerSources(context, task), { hash, bytes, what: "a group's gradient" });
  const gradient = await storedGradient(context, hash, sizes);
  for (const name of sizes.keys()) if (!allFinite(await gradient.read(name))) throw notFinite(hash);
  return gradient;
}

/** Tensors laid end to end in one object, fp32 little-endian. */
async function storedGradient({ workspace }: Context, hash: Hash, sizes: ReadonlyMap<string, number>): Promise<Tensors> {
  const place = await workspace.objects.locate(hash);
  if (place === undefined) throw new Error(`the gradient ${hash} was kept and is not here`);
  const offsets = new Map<string, number>();
  let end = place.offset;
  for (const [name, length] of sizes) {
    offsets.set(name, end);
    end += 4 * length;
  }
  return {
    sizes,
    read: async (name, into) => {
      const values = into ?? new Float32Array(sizes.get(name) ?? 0);
      const file = await openFile(place.file);
      try {
        await readInto(file, offsets.get(name) as number, fromFloat32("F32", values));
      } finally {
        await file.handle.close();
      }
      return values;
    },
  };
}

/** Writes a gradient, a tensor at a time, and keeps it as an object. */
async function keepGradient({ workspace }: Context, { cycle }: CycleView, group: number, gradient: Tensors): Promise<Hash> {
  const file = workspace.layout.cycle(cycle, `gradient-${group}.f32`);
  await makeDirectory(dirname(file));
  const hasher = createHash("sha256");
  await replaceFile(file, async (handle) => {
    for (const name of gradient.sizes.keys()) {
      const bytes = fromFloat32("F32", await gradient.read(name));
      hasher.update(bytes);
      await writeAll(handle, bytes);
    }
  });
  const hash = hasher.digest("hex");
  await noteGradient(workspace, cycle, hash);
  await workspace.objects.adopt(file, hash, { verified: true });
  return hash;
}

function notFinite(hash: Hash): ConnitoError {
  return new ConnitoError(`The gradient ${hash} holds a value that is not finite.`, {
    code: "group-result-invalid",
    exit: "verification",
    hint: "More than half of the group's scoring stake signed it; this validator computes the group from its submissions instead.",
  });
}
