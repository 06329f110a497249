/** Which gradients a cycle left among the objects, so that they can be removed when nobody asks for them any more. */
import type { Hash } from "../../protocol/hash.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import type { Workspace } from "../../workspace/workspace.ts";

export const gradientsNote = "gradients.json";

/** Before the gradient is kept: a note of what is not here does no harm, what is here without a note stays. */
export async function noteGradient(workspace: Workspace, cycle: number, hash: Hash): Promise<void> {
  const known = await gradientsOf(workspace, cycle);
  if (!known.includes(hash)) await writeJson(workspace.layout.cycle(cycle, gradientsNote), [...known, hash]);
}

export async function gradientsOf(workspace: Workspace, cycle: number): Promise<readonly Hash[]> {
  return (await readJson<readonly Hash[]>(workspace.layout.cycle(cycle, gradientsNote))) ?? [];
}
