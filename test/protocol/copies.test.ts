import assert from "node:assert/strict";
import fc from "fast-check";
import {
  certainShare,
  cosines,
  createSketcher,
  drawPlaces,
  drawSigns,
  effectsOf,
  isNoise,
  likenessOf,
  type Places,
  type Sketch,
  sketchValues,
  strengthOf,
} from "../../src/protocol/copies.ts";
import { stream } from "../../src/protocol/random.ts";
import { hash } from "./support.ts";

const length = 4_096;

function normals(name: string, count = length): Float32Array {
  const random = stream(hash(name));
  return Float32Array.from({ length: count }, () =>
    Array.from({ length: 12 }, () => random.uniform(2 ** 20) / 2 ** 20).reduce((a, b) => a + b, -6),
  );
}

const mix = (...parts: [number, Float32Array][]) =>
  Float32Array.from(parts[0]?.[1] ?? [], (_, i) => parts.reduce((sum, [by, of]) => sum + by * (of[i] as number), 0));

function sketchOf(tensors: readonly Float32Array[], places: Places): Sketch {
  const sketcher = createSketcher(places);
  for (const tensor of tensors) sketcher.add(tensor);
  return sketcher.finish();
}

/** What the rule says where all are paid alike; with these strengths, or alike. */
const likeness = (cosine: readonly (readonly number[])[], place: number, sparse: boolean, strengths = cosine.map(() => 1)) =>
  likenessOf(
    cosine,
    place,
    sparse,
    strengths.map((strength) => ({ score: 1, strength })),
  );
/** Sketches of all places, each once. */
const whole = (delta: Float32Array) => sketchOf([delta], { elements: delta.length, starts: [0], length: delta.length });
/** What the rule says of the last. */
const judge = (deltas: readonly Float32Array[], sparse = false) => likeness(cosines(deltas.map(whole)), deltas.length - 1, sparse);

/** Honest trainings: a direction that all share, and the rest their own. */
const family = (cosine: number, count: number, name = "") => {
  const shared = normals("shared");
  return Array.from({ length: count }, (_, index) =>
    mix([Math.sqrt(cosine), shared], [Math.sqrt(1 - cosine), normals(`own ${name} ${index}`)]),
  );
};
/** On a base that has learned, and on a raw one. */
const apart = family(0.2, 8);
const alike = family(0.8, 8);
const noise = normals("noise");

describe("sketches", () => {
  it("take the same places of every delta of a group, other places for another seed or group", () => {
    const { starts, length: run } = drawPlaces(hash("seed"), 0, 1_000);
    assert.deepEqual([starts.length, run], [sketchValues, 1]);
    assert.ok(starts.every((place) => place >= 0 && place < 1_000));
    assert.notDeepEqual(drawPlaces(hash("seed"), 1, 1_000).starts, starts);
    assert.notDeepEqual(drawPlaces(hash("other"), 0, 1_000).starts, starts);
  });

  it("take whole runs where a codec leaves few values, and as many values", () => {
    const { starts, length: run } = drawPlaces(hash("seed"), 0, 1_000_000, 39);
    assert.equal(run, 4096);
    assert.ok(starts.length * 39 >= sketchValues && (starts.length - 1) * 39 < sketchValues);
  });

  it("hold the values at those places that are not 0, however the tensors lie", () => {
    const values = Float32Array.from({ length: 20 }, (_, index) => index);
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 19 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 4 }),
        (starts, run, cuts) => {
          const bounds = [0, ...cuts.sort((a, b) => a - b), 20];
          const tensors = bounds.slice(1).map((end, index) => values.subarray(bounds[index], end));
          const sketch = sketchOf(tensors, { elements: 20, starts, length: run });
          const expected = starts.flatMap((start) => Array.from({ length: run }, (_, index) => (start + index) % 20));
          assert.deepEqual(
            [...sketch.at].map((at, index) => [at, sketch.values[index]]),
            expected.flatMap((value, at) => (value === 0 ? [] : [[at, value]])),
          );
        },
      ),
    );
  });

  it("show nearly the cosine of the whole", () => {
    const shared = normals("z", 20_000);
    const [x, y] = ["x", "y"].map((name) => mix([0.5, shared], [1, normals(name, 20_000)])) as [Float32Array, Float32Array];
    const places = drawPlaces(hash("seed"), 0, 20_000);
    const all = cosines([whole(x), whole(y)])[0]?.[1] as number;
    const seen = cosines([sketchOf([x], places), sketchOf([y], places)])[0]?.[1] as number;
    assert.ok(Math.abs(all - seen) < 0.03, `${all} ${seen}`);
  });
});

describe("near copies", () => {
  it("are judged among those that are paid at least a quarter as much", () => {
    const cosine = [
      [1, 0.5, 0.1],
      [0.5, 1, 0.1],
      [0.1, 0.1, 1],
    ];
    // What is usual is the cosine of the others, where both have a say.
    const usual = (...[score, own]: [number, number]) =>
      likenessOf(
        cosine,
        2,
        false,
        [score, 9_000, own].map((paid) => ({ score: paid, strength: 1 })),
      ).usual;
    assert.deepEqual(
      [0, 1, 249, 250, 1_000, 9_000].map((score) => usual(score, 1_000)),
      [0.9, 0.9, 0.9, 0.5, 0.5, 0.5],
    );
    assert.equal(usual(0, 0), 0.9);
  });

  it("are not found among honest work, much alike or hardly, in groups of any size", () => {
    for (const deltas of [apart, alike, family(0.05, 8, "hardly")])
      for (let count = 2; count <= deltas.length; count++) {
        const { copy, weight } = judge(deltas.slice(0, count));
        assert.equal(copy, count >= 7 ? false : "unclear");
        assert.equal(weight !== undefined, count >= 5);
      }
  });

  it("are not found among honest work that is alike by paid work under twice its size of noise, nearly as much of it as of honest work", () => {
    const [stolen, ...honest] = alike as [Float32Array, ...Float32Array[]];
    const noisy = (index: number) => mix([1, stolen], [2, normals(`noise ${index}`)]);
    for (const [count, others] of [
      [3, 2],
      [4, 3],
    ] as const) {
      const group = cosines([...honest.slice(0, count), ...Array.from({ length: others }, (_, index) => noisy(index))].map(whole));
      for (let place = 1; place < count; place++) assert.notEqual(likeness(group, place, false).copy, true, `${count} ${others} ${place}`);
    }
  });

  it("are not found among honest work that is alike by paid noise on another's, whose losses show that it is noise, in any order, however much of it", () => {
    const [stolen, ...honest] = alike as [Float32Array, ...Float32Array[]];
    // What all share, and noise moves losses no further.
    const members = (count: number, others: number, noise: number) => [
      ...honest.slice(0, count).map((delta) => ({ delta, strength: 1, isHonest: true })),
      ...Array.from({ length: others }, (_, index) => ({
        delta: mix([1, stolen], [noise, normals(`noise ${index}`)]),
        strength: 1 / Math.sqrt(1 + noise ** 2),
        isHonest: false,
      })),
    ];
    const calls = (group: ReturnType<typeof members>, strengths: readonly number[]) => {
      const cosine = cosines(group.map(({ delta }) => whole(delta)));
      return group.map(({ isHonest }, place) => isHonest && likeness(cosine, place, false, [...strengths]).copy === true).includes(true);
    };
    let called = 0;
    for (const [count, others] of [
      [2, 3],
      [3, 2],
      [3, 3],
      [4, 3],
    ] as const)
      for (const noise of [1, 1.5, 2, 3]) {
        const behind = members(count, others, noise);
        for (const group of [behind, [...behind].reverse()]) {
          const strengths = group.map(({ strength }) => strength);
          assert.equal(calls(group, strengths), false, `${count} ${others} ${noise}`);
          if (
            calls(
              group,
              group.map(() => 0),
            )
          )
            called++;
        }
      }
    assert.ok(called > 0);
  });

  it("are judged by what is usual among those that move losses three quarters as far as the weaker of it and of what is most like it", () => {
    const cosine = [
      [1, 0.4, 0.5, 0.6],
      [0.4, 1, 0.7, 0.3],
      [0.5, 0.7, 1, 0.2],
      [0.6, 0.3, 0.2, 1],
    ];
    const usual = (...strengths: number[]) => likeness(cosine, 3, false, strengths).usual;
    // The pair that is left, or the upper tenth of all three; the most like it is the first.
    assert.deepEqual([usual(4, 4, 2.9, 4), usual(4, 4, 3, 4), usual(4, 2.9, 3, 4)], [0.4, 0.7, 0.5]);
    assert.deepEqual([usual(4, 1.5, 1.4, 2), usual(2, 1.5, 1.4, 4), usual(2, 1.5, 1.5, 4)], [0.4, 0.4, 0.7]);
    // Where one is not known the other decides, and where neither is nobody is left out.
    assert.deepEqual([usual(4, 4, 2.9, 0), usual(0, 4, 2.9, 4), usual(0, 4, 0, 0)], [0.4, 0.9, 0.7]);
    assert.equal(likeness(cosine, 0, false, [1, 0.5, 1, 1]).usual, 0.2);
  });

  it("are judged, where less than two others move losses so far, by what their cosines would be if they did", () => {
    const cosine = [
      [1, 0.2, 0.1, 0.6],
      [0.2, 1, 0.3, 0.3],
      [0.1, 0.3, 1, 0.2],
      [0.6, 0.3, 0.2, 1],
    ];
    const usual = (...strengths: number[]) => likeness(cosine, 3, false, strengths).usual;
    // The largest of three: 0.3 of two that move losses half as far each, 0.2 of the first and one of them.
    for (const [strengths, expected] of [
      [[4, 2, 2, 4], 0.9],
      [[4, 2.5, 2.5, 4], 0.768],
      [[8, 2.5, 2.5, 4], 0.768],
      [[4, 2.5, 1.9, 4], 0.32],
      [[4, 1.9, 1.9, 4], 0.9],
      [[4, 3, 2.5, 4], 0.2],
    ] as const)
      assert.ok(Math.abs(usual(...strengths) - expected) < 1e-9, `${strengths}: ${usual(...strengths)}`);
  });

  it("hold something of whoever moves losses half as far, and nothing of noise is told by weights", () => {
    const [a, b] = alike as [Float32Array, Float32Array];
    const group = cosines([a, ...Array.from({ length: 6 }, (_, index) => normals(`noise ${index}`)), b].map(whole));
    const weights = (strength: number) => likeness(group, 7, false, [1, ...Array.from({ length: 6 }, () => strength), 1]);
    assert.deepEqual(
      [0.5, 0.49].map((strength) => weights(strength).copy),
      [true, "unclear"],
    );
    assert.equal(weights(0.49).weight, undefined);
  });

  it("have the strength of what their losses differ by, by their length, whatever its sign; none where that is no number", () => {
    const of = (own: number[], by: number) => strengthOf([3, 3], own, by);
    assert.deepEqual([of([0, 7], 2), of([3, 3], 2), of([6, 3], 0.5)], [2.5, 0, 6]);
    assert.deepEqual([of([Number.NaN, 3], 1), of([Number.POSITIVE_INFINITY, 3], 1), of([4, 3], 0), of([3, 3], 0)], [0, 0, 0, 0]);
    assert.equal(strengthOf([], [], 1), 0);
  });

  it("are found scaled, with a little noise, and of two mixed, whatever the scale and the group", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(apart, alike),
        fc.integer({ min: 2, max: 8 }),
        fc.double({ min: 1e-3, max: 1e3, noNaN: true }),
        (honest, count, scale) => {
          const earlier = honest.slice(0, count);
          const [a, b] = earlier as [Float32Array, Float32Array];
          for (const copy of [mix([-scale, a]), mix([scale, a], [0.2 * scale, noise]), mix([scale, a], [scale, b])])
            assert.equal(judge([...earlier, copy]).copy, true);
        },
      ),
      { numRuns: 20 },
    );
  });

  it("are found under as much noise as there was signal by what they hold of one, or two, of several others", () => {
    const [a, b] = alike as [Float32Array, Float32Array];
    const hidden = mix([1, a], [1, noise]);
    assert.equal(judge([...alike.slice(0, 3), hidden]).copy, "unclear");
    for (const count of [4, 6, 8]) {
      const { copy, weight, share, usual } = judge([...alike.slice(0, count), hidden]);
      assert.deepEqual([copy, (weight as number) > 0.8, share < certainShare(usual)], [true, true, true]);
    }
    assert.equal(judge([...alike, mix([1, a], [1, b], [0.7, noise])]).copy, true);
  });

  it("are not hidden by a later submission that is nearly the original", () => {
    const [a] = alike as [Float32Array];
    for (const more of [0.001, 0.01, 0.1, 0.3]) {
      const group = cosines([...alike, mix([1, a], [1, noise]), mix([1, a], [more, normals("more")])].map(whole));
      assert.deepEqual([likeness(group, 8, false).copy, likeness(group, 0, false).copy], [true, false]);
    }
  });

  it("are found where an honest training of its own was put on top", () => {
    for (const honest of [apart, alike]) {
      const own = honest[7] as Float32Array;
      assert.equal(judge([...honest.slice(0, 7), mix([1, honest[2] as Float32Array], [0.2, own])]).copy, true);
    }
  });

  it("are the later ones only: a later copy, even two, takes nothing from the original, and does not hide an earlier copy", () => {
    const [original, ...rest] = alike as [Float32Array, ...Float32Array[]];
    const copy = mix([1, original], [0.5, noise]);
    const again = mix([1, original], [0.5, normals("other noise")]);
    const group = cosines([...rest, original, copy, again].map(whole));
    const found = group.map((_, place) => likeness(group, place, false).copy);
    assert.deepEqual(found, [...rest.map(() => false), false, true, true]);
    const noisy = cosines([...rest, original, mix([1, original], [1.2, noise])].map(whole));
    assert.deepEqual([likeness(noisy, 7, false).copy, likeness(noisy, 8, false).copy], [false, true]);
    const first = cosines([original, copy, ...rest, mix([1, copy], [0.01, noise])].map(whole));
    assert.deepEqual([likeness(first, 0, false).copy, likeness(first, 1, false).copy], [false, true]);
  });

  it("are judged by what is usual, which copies among the others move only so far", () => {
    const [a, b, c] = apart as [Float32Array, Float32Array, Float32Array];
    assert.equal(judge([a, b]).usual, 0.9);
    assert.equal(judge([a, b], true).usual, 0.5);
    assert.ok(Math.abs(judge(alike).usual - 0.8) < 0.03);
    assert.equal(judge([normals("p"), normals("q"), c]).usual, 0.2);
    assert.equal(judge([a, a, a, a, c]).usual, 0.9);
    assert.equal(judge([a, a, a, a, c], true).usual, 0.5);
    const shares = [0.2, 0.4, 0.6, 0.8, 0.9].map((usual) => certainShare(usual).toFixed(4));
    assert.deepEqual(shares, ["0.6000", "0.7750", "0.9000", "0.9500", "0.9750"]);
  });

  it("explain with the three most alike, the most alike first, and once where the same is there twice", () => {
    const [a, b, c, d] = apart as [Float32Array, Float32Array, Float32Array, Float32Array];
    const { share, like } = judge([a, b, c, d, mix([0.5, a], [2, c], [1, d])]);
    assert.deepEqual(like, [2, 3, 0]);
    assert.ok(Math.abs(share - 1) < 1e-6);
    const { share: twice } = judge([a, a, mix([1, a], [1, noise])]);
    assert.ok(Math.abs(twice - Math.SQRT1_2) < 0.02);
  });

  it("are told among few by what they add: learning moves losses as what it adds to does, or far more than its values at random; noise does neither", () => {
    const steps = (name: string, size: number) => normals(name, 64).map((x) => size * x);
    const base = normals("losses", 64).map((x) => 3 + x);
    /** The rest, and its values with random signs, do so much of what the explained part does, by their length. */
    const measure = ([does, random]: readonly [number, number], { share = 0.8, scale = 1, cost = 0 } = {}) => {
      const explained = base.map((x, i) => x - (steps("part", scale * share)[i] as number));
      const aside = (name: string, by: number) =>
        [-1, 1].map((side) => {
          const rest = steps(name, side * by * scale * Math.sqrt(1 - share ** 2));
          return explained.map((x, i) => x + (rest[i] as number) + cost);
        }) as [Float32Array, Float32Array];
      const [[own, mirrored], [scrambled, scrambledMirrored]] = [aside("rest", does), aside("random", random)];
      return effectsOf({ base, explained, own, mirrored, scrambled, scrambledMirrored }, share);
    };
    const cases = [
      [1, 0.1, false],
      [0.04, 0.001, false],
      [1, 1, false],
      [0.7, 0.4, true],
      [0.9, 0.6, false],
      [0.7, 0.3, false],
      [0.05, 0.05, true],
      [0.001, 0.001, true],
    ] as const;
    fc.assert(
      fc.property(
        fc.double({ min: 0.3, max: 0.99, noNaN: true }),
        fc.double({ min: 0.01, max: 100, noNaN: true }),
        fc.constantFrom(...cases),
        (share, scale, [does, random, noise]) => {
          const found = measure([does, random], { share, scale, cost: scale });
          assert.equal(isNoise(found), noise, `${found.effect} ${found.random}`);
        },
      ),
      { numRuns: 30 },
    );
    assert.equal(isNoise(measure([1, 1], { scale: Number.NaN })), false);
  });

  it("are measured with signs that nobody knew: as many of each, others for another seed, group and tensor", () => {
    const signs = (seed: string, group: number, name: string) =>
      Array.from({ length: 1_000 }, (_, i) => drawSigns(hash(seed), group, name)(i));
    const first = signs("seed", 0, "one");
    assert.ok(Math.abs(first.reduce<number>((sum, sign) => sum + sign, 0)) < 120);
    for (const other of [signs("other", 0, "one"), signs("seed", 1, "one"), signs("seed", 0, "two")]) {
      const alike = other.filter((sign, i) => sign === first[i]).length;
      assert.ok(alike > 400 && alike < 600, `${alike}`);
    }
  });

  it("have nothing to say of a delta that is zero, or of the first", () => {
    const zero = new Float32Array(length);
    assert.deepEqual([judge([alike[0] as Float32Array, zero]).share, judge([...alike, zero]).copy], [0, false]);
    assert.deepEqual(judge([alike[0] as Float32Array]).like, []);
    assert.equal(judge([zero, zero]).copy, false);
  });
});
