/** Tables for people: plain columns under a line, no colours, readable in a pipe as well as on a terminal. */

export interface Column {
  readonly heading: string;
  /** Numbers stand to the right. */
  readonly align?: "left" | "right";
}

export type Cell = string | number | bigint | undefined;

/** One row a line under the headings; an absent cell is a dash. Without rows it is the headings alone. */
export function table(columns: readonly (Column | string)[], rows: readonly (readonly Cell[])[]): string {
  const described = columns.map((column) => (typeof column === "string" ? { heading: column } : column));
  const texts = rows.map((row) => described.map((_, index) => cellText(row[index])));
  const widths = described.map(({ heading }, index) => Math.max(width(heading), ...texts.map((row) => width(row[index] ?? ""))));
  const line = (cells: readonly string[]) =>
    cells
      .map((text, index) => pad(text, widths[index] ?? 0, described[index]?.align))
      .join("  ")
      .trimEnd();
  return [line(described.map(({ heading }) => heading)), line(widths.map((columns) => "─".repeat(columns))), ...texts.map(line)].join("\n");
}

/** "name   value" lines, the names as wide as the widest. An absent value is a dash. */
export function fields(entries: readonly (readonly [name: string, value: Cell])[]): string {
  const widest = Math.max(0, ...entries.map(([name]) => width(name)));
  return entries.map(([name, value]) => `${pad(name, widest)}  ${cellText(value)}`).join("\n");
}

const cellText = (cell: Cell): string => (cell === undefined ? "-" : String(cell));

/** Columns that a text takes, each character counted as one. */
const width = (text: string): number => [...text].length;

function pad(text: string, columns: number, align: Column["align"] = "left"): string {
  const space = " ".repeat(Math.max(0, columns - width(text)));
  return align === "left" ? text + space : space + text;
}
