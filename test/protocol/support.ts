/** What the tests of the protocol share: hashes, hotkeys and a task that mean nothing, but are always the same. */
import type { Hash } from "../../src/protocol/hash.ts";
import { sha256, toHex, utf8 } from "../../src/protocol/hash.ts";
import { type Hotkey, hotkeyOf } from "../../src/protocol/hotkey.ts";
import { createTask, type Task, type TaskOverrides } from "../../src/protocol/task.ts";

export function hash(name: string): Hash {
  return toHex(sha256(utf8(name)));
}

export function hotkey(name: string | number): Hotkey {
  return hotkeyOf(sha256(utf8(`hotkey ${name}`)));
}

/** `count` hotkeys in the order of their text. */
export function hotkeys(count: number): Hotkey[] {
  return Array.from({ length: count }, (_, index) => hotkey(index)).sort();
}

export function exampleTask(overrides: TaskOverrides = {}): Task {
  return createTask(
    {
      name: "example",
      netuid: 3,
      startBlock: 100,
      model: { root: hash("base"), standIns: hash("stand-ins") },
      groups: 2,
      scores: hash("scores"),
      domains: [
        { name: "speeches", train: hash("speeches train"), heldOut: hash("speeches held out") },
        { name: "novel", train: hash("novel train"), heldOut: hash("novel held out") },
      ],
    },
    overrides,
  );
}
