import assert from "node:assert/strict";
import { plot } from "../../src/ui/plot.ts";

const series = [
  { name: "speeches", values: [3, 2.5, 2.25] },
  { name: "novel", values: [4, 3.5, 3] },
];
const format = (value: number) => value.toFixed(2);

/** The lines of a plot that carry the axis. */
const drawn = (text: string) => text.split("\n").filter((line) => /[┤┼]/.test(line));

describe("plot", () => {
  it("names every series with where it begins and ends", () => {
    const text = plot(series, { format, colour: false });
    assert.match(text, /speeches {2}3\.00 → 2\.25/);
    assert.match(text, /novel {2}4\.00 → 3\.00/);
  });

  it("without colour gives each series a plot of its own, on one scale", () => {
    const text = plot(series, { format, colour: false, height: 10 });
    assert.ok(!text.includes("\u001b"));
    const axes = text.split("\n\n").map((part) => drawn(part).map((line) => line.split(/[┤┼]/)[0]?.trim()));
    assert.equal(axes.length, 2);
    assert.deepEqual(axes[0], axes[1]);
    assert.deepEqual([axes[0]?.[0], axes[0]?.at(-1)], ["4.00", "2.25"]);
  });

  it("with colour draws them together, a colour each, in plot and legend", () => {
    const text = plot(series, { format, colour: true, height: 8 });
    const legends = text.split("\n").slice(-2);
    const colours = legends.map((line) => line.slice(0, line.indexOf("─")));
    assert.notEqual(colours[0], colours[1]);
    const curves = text.split("\n").slice(0, -2).join("\n");
    for (const colour of colours) assert.ok(curves.includes(colour));
  });

  it("stretches a few steps to the width and shows more than that as they are", () => {
    const width = (values: number[]) =>
      Math.max(
        ...drawn(plot([{ name: "a", values }], { width: 40, format, colour: false })).map((line) => line.replace(/^.*?[┤┼]/, "").length),
      );
    assert.ok(width([2, 1]) >= 38 && width([2, 1]) <= 41);
    assert.ok(width(Array.from({ length: 100 }, (_, index) => index)) >= 98);
  });

  it("bridges what is not a number, and is nothing where there is nothing", () => {
    assert.match(plot([{ name: "a", values: [Number.NaN, 2, Number.NaN, 1] }], { format, colour: false }), /a {2}2\.00 → 1\.00/);
    assert.equal(plot([]), "");
    assert.equal(plot([{ name: "a", values: [Number.NaN] }]), "");
  });

  it("draws a single value, and values that are all the same", () => {
    for (const values of [[2], [2, 2, 2]]) assert.match(plot([{ name: "a", values }], { format, colour: false }), /a {2}2\.00 → 2\.00/);
  });
});
