/**
 * The blocks: the line of best ones, and branches beside it that another author might have made. The longest line is the best; what
 * is finalised stays. Every block's state can be read until it is pruned, a branch's too until finality has passed it.
 */

import type { Block, Header } from "./blocks.ts";
import type { Hex } from "./metadata/scale.ts";
import type { Changes } from "./runtime/ledger.ts";
import { createState, type StateView } from "./state.ts";

/** What a block did to the line of best blocks. */
export interface Import {
  /** Blocks that left the line, the last one first. */
  readonly retracted: readonly Block[];
  /** Blocks that joined it, in order; empty for a block on a branch that is not longer. */
  readonly enacted: readonly Block[];
}

export interface BlockTree {
  best(): Block;
  finalized(): Block;
  /** Undefined where it is unknown or its body is pruned. */
  byHash(hash: Hex): Block | undefined;
  byNumber(number: number): Block | undefined;
  /** Kept for longer than the block. */
  header(hash: Hex): Header | undefined;
  /** The hash of the best line's block; kept as long as its header. */
  hashAt(number: number): Hex | undefined;
  /** Undefined where the state is pruned, or the block unknown. */
  stateOf(hash: Hex): StateView | undefined;
  /** The oldest block that has state, and every key and value of it. */
  oldest(): { readonly block: Block; readonly state: Changes };
  /** What a block of the tree changed, until it is finalised. */
  changesOf(hash: Hex): Changes | undefined;
  /** Adds a block whose parent is in the tree. */
  add(block: Block, changes: Changes): Import;
  /** Moves finality up to this number of the best line. @returns the blocks that became final, in order */
  finalize(number: number): Block[];
}

export interface TreeOptions {
  /** Known for ever, though its state may be pruned. */
  readonly genesis: Block;
  /** Finalised blocks whose state and bodies are kept behind the last one; infinite for an archive. */
  readonly kept: number;
}

/** Headers are kept for so many blocks more: a few megabytes. */
const headersKept = 20_000;

interface Node {
  readonly block: Block;
  /** Until it is final: with them a branch can be left and joined. */
  changes: Changes | undefined;
}

/** Reads through the changes of a branch to the line that it leaves. @param layers nearest first */
function overlay(layers: readonly Changes[], base: StateView): StateView {
  const read = (key: Hex): Hex | undefined => {
    const layer = layers.find((changes) => changes.has(key));
    return layer === undefined ? base.read(key) : layer.get(key);
  };
  const keys = (prefix: Hex): Hex[] => {
    const all = new Set(base.keys(prefix));
    for (const layer of layers) {
      for (const key of layer.keys()) {
        if (key.startsWith(prefix)) {
          all.add(key);
        }
      }
    }
    return [...all].filter((key) => read(key) !== undefined).sort();
  };
  return {
    read,
    keys,
    page: (prefix, count, after) =>
      keys(prefix)
        .filter((key) => after === undefined || key > after)
        .slice(0, count),
  };
}

/** @param base the block that the tree begins with: the genesis, or where a chain was cut off before */
export function createBlockTree(base: Block, baseState: Changes, { genesis, kept }: TreeOptions): BlockTree {
  const state = createState();
  const nodes = new Map<Hex, Node>();
  /** By number, with the branches. What finality has passed is not in it any more. */
  const undecided = new Map<number, Hex[]>();
  const line = new Map<number, Hex>();
  const oldHeaders = new Map<Hex, Header>();
  let best = base;
  let finalized = base;
  let oldest = base.header.number;

  state.commit(oldest, baseState);
  for (const known of [genesis, base]) {
    nodes.set(known.hash, { block: known, changes: undefined });
    line.set(known.header.number, known.hash);
  }

  const nodeOf = (hash: Hex): Node => nodes.get(hash) as Node;
  const isOnLine = ({ hash, header }: Block): boolean => line.get(header.number) === hash;
  const byNumber = (number: number): Block | undefined => nodes.get(line.get(number) ?? "0x")?.block;

  /** From a block down to, and without, the first that is on the line of best blocks. */
  function branchOf(block: Block): Block[] {
    const branch: Block[] = [];
    for (let at = block; !isOnLine(at); at = nodeOf(at.header.parentHash).block) {
      branch.push(at);
    }
    return branch;
  }

  function enact(block: Block): Import {
    const enacted = branchOf(block).reverse();
    const ancestor = (enacted[0] as Block).header.number - 1;
    const retracted: Block[] = [];
    for (let number = best.header.number; number > ancestor; number--) {
      retracted.push(byNumber(number) as Block);
      state.revert(number);
      line.delete(number);
    }
    for (const joining of enacted) {
      state.commit(joining.header.number, nodeOf(joining.hash).changes as Changes);
      line.set(joining.header.number, joining.hash);
    }
    best = block;
    return { retracted, enacted };
  }

  /** Bodies and state of the oldest block go, its header stays for some time. */
  function prune(number: number): void {
    state.prune(number + 1);
    const hash = line.get(number) as Hex;
    oldHeaders.set(hash, nodeOf(hash).block.header);
    if (hash !== genesis.hash) {
      nodes.delete(hash);
    }
    if (oldHeaders.size > headersKept) {
      const [eldest, header] = oldHeaders.entries().next().value as [Hex, Header];
      oldHeaders.delete(eldest);
      if (eldest !== genesis.hash) {
        line.delete(header.number);
      }
    }
  }

  return {
    best: () => best,
    finalized: () => finalized,
    byHash: (hash) => nodes.get(hash)?.block,
    byNumber,
    header: (hash) => nodes.get(hash)?.block.header ?? oldHeaders.get(hash),
    hashAt: (number) => line.get(number),
    stateOf(hash) {
      const block = nodes.get(hash)?.block;
      if (block === undefined || block.header.number < oldest) {
        return undefined;
      }
      const branch = branchOf(block);
      const base = (branch.at(-1)?.header.number ?? block.header.number + 1) - 1;
      const view = state.at(base);
      return branch.length === 0
        ? view
        : overlay(
            branch.map((member) => nodeOf(member.hash).changes as Changes),
            view,
          );
    },
    oldest: () => ({ block: byNumber(oldest) as Block, state: state.whole(oldest) }),
    changesOf: (hash) => nodes.get(hash)?.changes,
    add(block, changes) {
      const { number } = block.header;
      nodes.set(block.hash, { block, changes });
      undecided.set(number, [...(undecided.get(number) ?? []), block.hash]);
      return number > best.header.number ? enact(block) : { retracted: [], enacted: [] };
    },
    finalize(number) {
      const passed: Block[] = [];
      for (let next = finalized.header.number + 1; next <= number; next++) {
        finalized = byNumber(next) as Block;
        nodeOf(finalized.hash).changes = undefined;
        passed.push(finalized);
        // Branches that begin no later than this block are lost for good.
        for (const hash of undecided.get(next) ?? []) {
          if (hash !== finalized.hash) {
            nodes.delete(hash);
          }
        }
        undecided.delete(next);
      }
      // What stood on a branch that was lost goes with it.
      for (const hashes of passed.length === 0 ? [] : undecided.values()) {
        for (const hash of hashes) {
          if (!nodes.has(nodes.get(hash)?.block.header.parentHash ?? "0x")) {
            nodes.delete(hash);
          }
        }
      }
      for (; oldest < finalized.header.number - kept; oldest++) {
        prune(oldest);
      }
      return passed;
    },
  };
}
