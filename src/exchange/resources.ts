/**
 * Which paths there are, over HTTP and in a shared directory alike, and who may have what. A path that is not in this table does not
 * exist: it is compared as it was sent, so there is nothing to decode, to normalise or to climb out of.
 *
 * Who may have what is decided in two steps: the server lets through registered hotkeys only; then the publication, which knows the
 * task and the chain, answers what the path names or says "forbidden":
 *
 *     /task.json, /tasks/HASH.json    the task                every registered hotkey
 *     /manifests/ROOT.json            a model version         every registered hotkey
 *     /objects/HASH                   pieces, data, scores    every registered hotkey; held-out data: validators only
 *     /submissions/ROOT               an artifact             nobody before its commit window is finalised as closed, then all
 *     /reports/CYCLE/HOTKEY.json      a validator's report    nobody before its score window is closed, then all
 *     /groups/CYCLE/GROUP/HOTKEY.json what a validator        every registered hotkey
 *                                     made of a group
 */
import type { Hash } from "../protocol/hash.ts";
import { type Hotkey, isHotkey } from "../protocol/hotkey.ts";

export type Resource =
  | { readonly kind: "task" }
  | { readonly kind: "task-document"; readonly hash: Hash }
  | { readonly kind: "manifest"; readonly root: Hash }
  | { readonly kind: "object"; readonly hash: Hash }
  | { readonly kind: "submission"; readonly root: Hash }
  | { readonly kind: "report"; readonly cycle: number; readonly hotkey: Hotkey }
  | { readonly kind: "group-result"; readonly cycle: number; readonly group: number; readonly hotkey: Hotkey };

export interface ResourceRule {
  readonly pattern: RegExp;
  readonly contentType: string;
  /** Bytes that change under the same path, as a report that is sent again may; all others are named by their content. */
  readonly replaceable: boolean;
  /** What the path names, from the pattern's groups; undefined where they do not fit after all. */
  readonly read: (first: string, second: string, third: string) => Resource | undefined;
}

const json = "application/json";
const bytes = "application/octet-stream";
const maximumCycle = 2 ** 32 - 1;
const maximumGroup = 0xffff;

/** The whole table. */
export const resourceRules: readonly ResourceRule[] = [
  { pattern: /^\/task\.json$/, contentType: json, replaceable: true, read: () => ({ kind: "task" }) },
  {
    pattern: /^\/tasks\/([0-9a-f]{64})\.json$/,
    contentType: json,
    replaceable: false,
    read: (hash) => ({ kind: "task-document", hash }),
  },
  {
    pattern: /^\/manifests\/([0-9a-f]{64})\.json$/,
    contentType: json,
    replaceable: false,
    read: (root) => ({ kind: "manifest", root }),
  },
  {
    pattern: /^\/objects\/([0-9a-f]{64})$/,
    contentType: bytes,
    replaceable: false,
    read: (hash) => ({ kind: "object", hash }),
  },
  {
    pattern: /^\/submissions\/([0-9a-f]{64})$/,
    contentType: bytes,
    replaceable: false,
    read: (root) => ({ kind: "submission", root }),
  },
  {
    pattern: /^\/reports\/(0|[1-9][0-9]{0,9})\/([1-9A-HJ-NP-Za-km-z]{46,48})\.json$/,
    contentType: json,
    replaceable: true,
    read: (cycle, hotkey) =>
      Number(cycle) <= maximumCycle && isHotkey(hotkey) ? { kind: "report", cycle: Number(cycle), hotkey } : undefined,
  },
  {
    pattern: /^\/groups\/(0|[1-9][0-9]{0,9})\/(0|[1-9][0-9]{0,4})\/([1-9A-HJ-NP-Za-km-z]{46,48})\.json$/,
    contentType: json,
    replaceable: true,
    read: (cycle, group, hotkey) =>
      Number(cycle) <= maximumCycle && Number(group) <= maximumGroup && isHotkey(hotkey)
        ? { kind: "group-result", cycle: Number(cycle), group: Number(group), hotkey }
        : undefined,
  },
];

/** What a path names, with its rule; undefined where there is no such path. */
export function resourceAt(path: string): { readonly resource: Resource; readonly rule: ResourceRule } | undefined {
  for (const rule of resourceRules) {
    const match = rule.pattern.exec(path);
    if (match === null) continue;
    const resource = rule.read(match[1] ?? "", match[2] ?? "", match[3] ?? "");
    return resource && { resource, rule };
  }
  return undefined;
}
