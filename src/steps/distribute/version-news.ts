/** How a cycle's version came about, where that is not as usual: said to everybody who is about to fetch it. */

import { readJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";

/** Notes who named another root, why the old version stands, and that this validator gives up a root of its own. */
export async function tellVersionNews(context: Context, view: CycleView): Promise<void> {
  const { progress, workspace } = context;
  const { cycle, base, vote } = view;
  if (cycle === 0) return;
  const differing = differingRoots(view);
  if (differing.length > 0) {
    const list = differing.map(({ hotkey, root }) => `${hotkey} ${root}`).join(", ");
    progress.note(`Validators differ on the version of cycle ${cycle}; ${base} is canonical, but: ${list}`, {
      code: "roots-differ",
      differing,
    });
  }
  if (vote?.canonical?.majority === "previous") {
    const { active, reporting } = vote;
    const why = 2n * reporting < active ? "less than half of the stake proved a version" : "no version has more than half of the stake";
    const stake = `${reporting} of ${active} rao`;
    progress.note(`The old version ${base} stands in cycle ${cycle}: ${why} for it (${stake} proved one).`, {
      code: "version-stands",
      cycle,
    });
  }
  const own = await readJson<{ readonly root: string }>(workspace.layout.cycle(cycle - 1, "merge.json"));
  if (own !== undefined && own.root !== base) {
    progress.note(
      `This validator computed ${own.root} for cycle ${cycle}. It takes the canonical ${base}: the pieces that differ are fetched.`,
      {
        code: "version-given-up",
        own: own.root,
        canonical: base,
      },
    );
  }
}

/** Validators whose record for this cycle names another root than the canonical one. */
export function differingRoots(view: CycleView): { hotkey: string; root: string }[] {
  return view.participants.validators.flatMap(({ hotkey, record }) =>
    record?.kind === "version" && record.cycle === view.cycle && record.root !== view.base ? [{ hotkey, root: record.root }] : [],
  );
}
