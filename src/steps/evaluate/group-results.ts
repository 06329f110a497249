/**
 * Groups' gradients among validators: whoever was drawn to score a group computes its gradient and shows it under its hash; the others
 * take the one that more than half of the group's scoring stake stands behind.
 */

import { verifySignature } from "../../chain/signer.ts";
import { ConnitoError } from "../../errors.ts";
import { collectBytes } from "../../exchange/exchange.ts";
import type { Piece } from "../../model/pieces.ts";
import { pieceName } from "../../model/pieces.ts";
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
import type { Validator } from "../chain-records.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { peerSources, provideObject, sourceAt } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { publishFile, publishObjects } from "../publish.ts";
import type { GroupGradient } from "./merge-groups.ts";

export function groupResultPath(workspace: Workspace, cycle: number, group: number, validator: string): string {
  return workspace.layout.cycle(cycle, `group-${group}-${validator}.json`);
}

/** The path of a group's result on the exchange. */
function exchangePath(cycle: number, group: number, validator: string): string {
  return `/groups/${cycle}/${group}/${validator}.json`;
}

/** Signs, keeps and shows what this validator made of a group. `tensors` are the group's trained tensors in canonical order. */
export async function publishGroupResult(
  context: Context,
  { taskHash: task }: Membership,
  view: CycleView,
  { group, contributors, gradient }: GroupGradient,
): Promise<GroupOutcome> {
  const hash = contributors.length === 0 ? null : await context.workspace.objects.put(encodeGradient([...gradient.values()]));
  const { address: validator } = context.signer;
  const outcome = { contributors, gradient: hash };
  const result: GroupResult = { format: "connito/group-result/1", task, cycle: view.cycle, base: view.base, group, validator, ...outcome };
  const signed: SignedGroupResult = { result, signature: toHex(context.signer.sign(groupResultMessage(result))) };
  const file = groupResultPath(context.workspace, view.cycle, group, validator);
  await writeJson(file, signed);
  if (hash !== null) await publishObjects(context, [hash]);
  await publishFile(context, exchangePath(view.cycle, group, validator), file);
  return outcome;
}

/** What the scorers of a group say of it, as far as they can be asked now; each kept here, with its signature checked. */
export async function collectGroupResults(
  context: Context,
  { taskHash: task }: Membership,
  view: CycleView,
  group: number,
  scorers: readonly Validator[],
): Promise<GroupResult[]> {
  const results = await Promise.all(
    scorers.map(async ({ hotkey, record }): Promise<GroupResult | undefined> => {
      const file = groupResultPath(context.workspace, view.cycle, group, hotkey);
      const kept = await readJson<SignedGroupResult>(file);
      if (kept !== undefined) return kept.result;
      if (record === undefined || hotkey === context.signer.address) return undefined;
      try {
        const source = sourceAt(context, record.locator, hotkey);
        const limits = { maximumBytes: maximumGroupResultBytes, signal: context.signal };
        const stream = await source.get(exchangePath(view.cycle, group, hotkey), limits);
        const document: unknown = JSON.parse(Buffer.from(await collectBytes(stream, maximumGroupResultBytes)).toString("utf8"));
        const signed = parseGroupResult(document, { task, cycle: view.cycle, base: view.base, group, validator: hotkey });
        if (!(await verifySignature(groupResultMessage(signed.result), fromHex(signed.signature), hotkey))) return undefined;
        await writeJson(file, signed);
        return signed.result;
      } catch (error) {
        if (context.signal.aborted) throw error;
        return undefined;
      }
    }),
  );
  return results.filter((result) => result !== undefined);
}

/** A gradient that scorers agreed on, fetched under its hash. `pieces` are the group's trained tensors in canonical order. */
export async function fetchGradient(
  context: Context,
  { task }: Membership,
  hash: Hash,
  pieces: readonly Piece[],
): Promise<Map<string, Float32Array>> {
  const lengths = pieces.map(({ shape }) => shape.reduce((product, length) => product * length, 1));
  const bytes = 4 * lengths.reduce((sum, length) => sum + length, 0);
  await provideObject(context, await peerSources(context, task), { hash, bytes, what: "a group's gradient" });
  const content = await context.workspace.objects.read(hash);
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  let at = 0;
  return new Map(
    pieces.map((piece, index) => {
      const values = new Float32Array(lengths[index] as number);
      for (let i = 0; i < values.length; i++, at += 4) values[i] = view.getFloat32(at, true);
      if (!values.every(Number.isFinite)) throw notFinite(hash);
      return [pieceName(piece), values];
    }),
  );
}

function encodeGradient(tensors: readonly Float32Array[]): Uint8Array {
  const bytes = new Uint8Array(4 * tensors.reduce((sum, { length }) => sum + length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const tensor of tensors) {
    for (const value of tensor) {
      view.setFloat32(at, value, true);
      at += 4;
    }
  }
  return bytes;
}

function notFinite(hash: Hash): ConnitoError {
  return new ConnitoError(`The gradient ${hash} holds a value that is not finite.`, {
    code: "group-result-invalid",
    exit: "verification",
    hint: "More than half of the group's scoring stake signed it; this validator computes the group from its submissions instead.",
  });
}
