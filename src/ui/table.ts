/** Tables for people: plain columns under a line, no colours, readable in a pipe as well as on a terminal. */

import CliTable from "cli-table3";

export interface Column {
  readonly heading: string;
  /** Numbers stand to the right. */
  readonly align?: "left" | "right";
}

export type Cell = string | number | bigint | undefined;

/** One row a line under the headings; an absent cell is a dash. Without rows it is the headings alone. */
export function table(columns: readonly (Column | string)[], rows: readonly (readonly Cell[])[]): string {
  const described = columns.map((column) => (typeof column === "string" ? { heading: column } : column));
  const drawn = new CliTable({
    head: described.map(({ heading }) => heading),
    colAligns: described.map(({ align = "left" }) => align),
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
    chars: { ...noBorder, middle: "  ", "mid-mid": "  ", mid: "─", "left-mid": "" },
  });
  for (const row of rows) drawn.push(row.map((cell) => (cell === undefined ? "-" : String(cell))));
  // The one rule wanted is the one under the headings; cli-table3 draws one under each row as well.
  const lines = drawn.toString().split("\n");
  return lines
    .filter((line, index) => index === 1 || !/^[─ ]*─[─ ]*$/.test(line))
    .map((line) => line.trimEnd())
    .join("\n");
}

const noBorder = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "right-mid": "",
  right: "",
} as const;

/** "name   value" lines, the names as wide as the widest. An absent value is a dash. */
export function fields(entries: readonly (readonly [name: string, value: Cell])[]): string {
  const width = Math.max(0, ...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${value === undefined ? "-" : String(value)}`).join("\n");
}
