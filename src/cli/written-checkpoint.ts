/** What commands share that write a checkpoint directory. */
import { Flags } from "@oclif/core";
import type { WrittenCheckpoint } from "../model/write-shards.ts";
import { formatBytes } from "../ui/format.ts";

export const writtenFlags = {
  output: Flags.string({ helpValue: "DIRECTORY", summary: "Where to write it; must not exist, or be empty.", required: true }),
  "max-shard-size": Flags.string({
    helpValue: "SIZE",
    summary: "Split the tensors into files of at most this size.",
    default: "5GB",
  }),
};

/** The row of a result that says what was written. */
export function writtenTensors({ files, bytes }: WrittenCheckpoint): readonly [label: string, value: string] {
  return ["tensors", `${formatBytes(bytes)} in ${files === 1 ? "one file" : `${files} files`}`];
}
