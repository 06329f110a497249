/** Curves as text: several named series over the same steps, with a legend that tells them apart with and without colour. */

import asciichart from "asciichart";
import { wantsColour } from "./terminal.ts";

export interface Series {
  readonly name: string;
  /** One value a step. A value that is not finite leaves a gap at the level of its neighbour. */
  readonly values: readonly number[];
}

export interface PlotOptions {
  /** Lines of the plot, without the legend. */
  readonly height?: number;
  /** Columns that the curves are stretched to, so that a few steps make a readable plot. */
  readonly width?: number;
  /** By default where stdout is a terminal that wants them. */
  readonly colour?: boolean;
  /** The axis' numbers. */
  readonly format?: (value: number) => string;
}

const palette = [asciichart.cyan, asciichart.yellow, asciichart.magenta, asciichart.green, asciichart.blue, asciichart.red] as const;

/**
 * The plot with its legend under it; the empty string when there is nothing to draw. Without colour nothing would tell crossing
 * curves apart, so each series then gets a plot of its own, all on the same scale.
 */
export function plot(series: readonly Series[], options: PlotOptions = {}): string {
  const { height = 12, width = 60, colour = wantsColour(process.stdout), format = (value) => value.toFixed(4) } = options;
  const drawable = series
    .map(({ name, values }) => ({ name, values: stretch(withoutGaps(values), width) }))
    .filter(({ values }) => values.length > 0);
  if (drawable.length === 0) return "";
  const everything = drawable.flatMap(({ values }) => values);
  const [min, max] = [Math.min(...everything), Math.max(...everything)];
  const labelWidth = Math.max(format(min).length, format(max).length);
  const draw = (curves: number[][], lines: number, colors?: asciichart.Color[]) =>
    asciichart.plot(curves, {
      height: lines,
      min,
      max,
      format: (value) => format(value).padStart(labelWidth),
      ...(colors === undefined ? {} : { colors }),
    });
  const legend = ({ name, values }: Series) => `${name}  ${format(values[0] ?? 0)} → ${format(values.at(-1) ?? 0)}`;

  if (!colour) {
    const lines = Math.max(4, Math.floor(height / drawable.length));
    return drawable.map((one) => `${legend(one)}\n${draw([one.values], lines)}`).join("\n\n");
  }
  const colours = drawable.map((_, index) => palette[index % palette.length] ?? asciichart.reset);
  const chart = draw(
    drawable.map(({ values }) => values),
    height,
    colours,
  );
  return [chart, ...drawable.map((one, index) => `${colours[index]}──${asciichart.reset} ${legend(one)}`)].join("\n");
}

/** A value that is not finite takes the one before it, or the first finite one after it. */
function withoutGaps(values: readonly number[]): number[] {
  let level = values.find(Number.isFinite);
  if (level === undefined) return [];
  return values.map((value) => {
    if (Number.isFinite(value)) level = value;
    return level as number;
  });
}

/** Linear interpolation over `width` columns: asciichart draws one column a value. */
function stretch(values: readonly number[], width: number): number[] {
  if (values.length <= 1 || values.length >= width) return values.length === 1 ? Array<number>(width).fill(values[0] ?? 0) : [...values];
  return Array.from({ length: width }, (_, column) => {
    const position = (column * (values.length - 1)) / (width - 1);
    const below = Math.floor(position);
    const first = values[below] ?? 0;
    return first + ((values[below + 1] ?? first) - first) * (position - below);
  });
}
