/** A training plan as people see it: what lies on the disk, and what each way of training takes of memory, part by part, beside what there is. */
import type { TrainingPlan } from "../steps/train/plan.ts";
import { formatBytes, formatCount } from "../ui/format.ts";
import { table } from "../ui/table.ts";

const parts = ["weights", "gradients", "optimizer", "activations", "checkpoint"] as const;
const barColumns = 24;

export function drawPlan({ cycle, group, trained, disk, memory, way, fits }: TrainingPlan): string {
  const { whole, layers, available, runtime } = memory;
  const right = (heading: string) => ({ heading, align: "right" as const });
  const shown = way === "whole" ? whole : layers;
  const rows = parts.map((part) => [
    part,
    formatBytes(whole[part]),
    formatBytes(layers[part]),
    "#".repeat(Math.round((barColumns * shown[part]) / Math.max(available, shown.total))),
  ]);
  const scratch = layers.scratch === 0 ? [] : [["in a file instead", undefined, formatBytes(layers.scratch), undefined]];
  const memoryTable = table(
    ["of memory", right("all at once"), right("layer by layer"), `${way === "whole" ? "all at once" : "layer by layer"}, of what is free`],
    [...rows, ["together", formatBytes(whole.total), formatBytes(layers.total), undefined], ...scratch],
  );
  const diskTable = table(
    ["on the disk", right("")],
    [
      ["backbone", formatBytes(disk.backbone)],
      ["this group's experts", formatBytes(disk.experts)],
      ["the others' stand-ins", formatBytes(disk.standIns)],
    ],
  );
  const how = way === "whole" ? "all at once" : "layer by layer, each layer computed twice";
  return [
    `Cycle ${cycle}, group ${group}: ${formatCount(trained.parameters)} parameters in ${trained.tensors} tensors are trained.`,
    "",
    diskTable,
    "",
    memoryTable,
    "",
    `${formatBytes(available)} are free beside the ${formatBytes(runtime)} of the program itself. It would train ${how}.`,
    ...(fits ? [] : ["That may not be enough: a smaller batch, shorter sequences or more memory are needed."]),
  ].join("\n");
}
