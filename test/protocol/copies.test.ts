import assert from "node:assert/strict";
import fc from "fast-check";
import {
  addsNothing,
  cosine,
  drawCoordinates,
  explain,
  sketchCoordinates,
  sketchOf,
  suspicion,
  unexplained,
  usualLikeness,
} from "../../src/protocol/copies.ts";
import { stream } from "../../src/protocol/random.ts";
import { hash } from "./support.ts";

function normals(name: string, count: number): Float64Array {
  const random = stream(hash(name));
  return Float64Array.from({ length: count }, () =>
    Array.from({ length: 12 }, () => random.uniform(2 ** 20) / 2 ** 20).reduce((a, b) => a + b, -6),
  );
}

const mix = (...parts: [number, Float64Array][]) =>
  Float64Array.from(parts[0]?.[1] ?? [], (_, i) => parts.reduce((sum, [by, of]) => sum + by * (of[i] as number), 0));

/** Honest trainings: half a shared direction, the rest their own; a cosine of 0.2. */
const shared = normals("shared", 4_096);
const honest = Array.from({ length: 6 }, (_, index) => mix([0.5, shared], [1, normals(`own ${index}`, 4_096)]));
const [a, b, c, d] = honest as [Float64Array, Float64Array, Float64Array, Float64Array];

describe("sketches", () => {
  it("take the same places of every delta of a group, other places for another seed or group", () => {
    const places = drawCoordinates(hash("seed"), 0, 1_000);
    assert.equal(places.length, sketchCoordinates);
    assert.ok(places.every((place) => place >= 0 && place < 1_000));
    assert.notDeepEqual(drawCoordinates(hash("seed"), 1, 1_000), places);
    assert.notDeepEqual(drawCoordinates(hash("other"), 0, 1_000), places);
  });

  it("hold the values at those places, tensors laid end to end", () => {
    const values = Float32Array.from({ length: 100 }, (_, index) => index);
    const pieces = [values.subarray(0, 7), values.subarray(7, 7), values.subarray(7, 61), values.subarray(61)];
    assert.deepEqual([...sketchOf(pieces, [99, 0, 7, 61, 7, 60])], [99, 0, 7, 61, 7, 60]);
  });

  it("show nearly the cosine of the whole", () => {
    const [x, y] = [normals("x", 60_000), normals("y", 60_000)].map((values) =>
      Float32Array.from(mix([0.5, normals("z", 60_000)], [1, values])),
    );
    const places = drawCoordinates(hash("seed"), 0, 60_000);
    const whole = cosine(Float64Array.from(x as Float32Array), Float64Array.from(y as Float32Array));
    const seen = cosine(sketchOf([x as Float32Array], places), sketchOf([y as Float32Array], places));
    assert.ok(Math.abs(whole - seen) < 0.03, `${whole} ${seen}`);
  });
});

describe("likeness", () => {
  const level = (later: Float64Array, earlier: readonly Float64Array[] = [a, b, c, d]) =>
    suspicion(explain(later, earlier).share, usualLikeness([...earlier]));

  it("is what earlier submissions explain, whatever the scale", () => {
    assert.deepEqual(
      [explain(a, [b]).share].map((share) => share.toFixed(9)),
      [cosine(a, b).toFixed(9)],
    );
    fc.assert(
      fc.property(fc.double({ min: 1e-3, max: 1e3, noNaN: true }), (scale) => {
        assert.ok(Math.abs(explain(mix([-scale, a]), [b, a]).share - 1) < 1e-9);
      }),
    );
    const { share, sources } = explain(mix([0.5, a], [2, c]), [a, b, c]);
    assert.ok(Math.abs(share - 1) < 1e-9);
    assert.deepEqual(
      sources.map(({ index, factor }) => [index, Math.round(100 * factor) + 0]),
      [
        [2, 200],
        [0, 50],
        [1, 0],
      ],
    );
  });

  it("does not suspect honest work", () => {
    for (const [index, later] of honest.entries()) assert.equal(level(later, honest.slice(0, index)), "clear");
  });

  it("is certain of copies, scaled, with a little noise, of two mixed, and when the same is there twice", () => {
    const noise = normals("noise", 4_096);
    for (const copy of [a, mix([3, a]), mix([1, a], [0.4, noise]), mix([0.5, a], [0.5, b]), mix([1, a], [1, b], [1, c])])
      assert.equal(level(copy), "certain");
    assert.equal(level(a, [a, a, b]), "certain");
  });

  it("suspects copies with as much noise, or half of their coordinates, as there was signal", () => {
    assert.equal(level(mix([1, a], [1, normals("noise", 4_096)])), "suspect");
    assert.equal(level(a.map((value, index) => (index % 2 === 0 ? value : 0))), "suspect");
  });

  it("knows what is usual from the group, within limits that copies among it cannot move", () => {
    assert.ok(Math.abs((usualLikeness(honest) ?? 0) - 0.2) < 0.05);
    assert.equal(usualLikeness([a, b]), undefined);
    assert.equal(usualLikeness([normals("p", 4_096), normals("q", 4_096), normals("r", 4_096)]), 0.2);
    assert.equal(usualLikeness([a, a, a, a, b]), 0.8);
  });

  it("has nothing to say of a delta that is zero, or of the first", () => {
    assert.equal(explain(new Float64Array(4), [new Float64Array([1, 2, 3, 4])]).share, 0);
    assert.equal(explain(a, []).share, 0);
  });
});

describe("what is left of a later submission", () => {
  it("suspects, where nothing is known of what is usual, but is certain of hardly anything", () => {
    assert.deepEqual(
      [0.55, 0.6, 0.97, 0.98].map((share) => suspicion(share, undefined)),
      ["clear", "suspect", "suspect", "certain"],
    );
  });

  it("is nothing of a copy, and work of its own from half on of what honest work so much alike would keep", () => {
    const delta = Float32Array.of(1, -2, 3);
    assert.deepEqual(
      unexplained(
        delta.map((value) => 2 * value),
        [{ delta, factor: 2 }],
      ),
      Float32Array.of(0, 0, 0),
    );
    assert.deepEqual(
      [addsNothing(0.09, 1, 0.8), addsNothing(0.11, 1, 0.8), addsNothing(-1, 1, 0.8), addsNothing(Number.NaN, 1, 0.8)],
      [true, false, true, true],
    );
  });
});
