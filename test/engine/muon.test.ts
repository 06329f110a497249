import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { besides, type FlatTensors, flatLayout, flatTensors } from "../../src/engine/flat-tensors.ts";
import type { MuonOptions } from "../../src/engine/muon.ts";
import { type OptimizerOptions, openUpdate, shareOut } from "../../src/engine/update.ts";
import { muonDefaults } from "../../src/protocol/task-defaults.ts";
import { random } from "./graph/finite-differences.ts";

interface Golden {
  readonly shape: [number, number];
  readonly lr: number;
  readonly weight_decay: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly ns_steps: number;
  readonly ns_coefficients: [number, number, number];
  readonly start: number[];
  readonly steps: readonly { readonly gradient: number[]; readonly weight: number[]; readonly m: number[] }[];
}

type State = Record<"weight" | "gradient" | "m" | "v", FlatTensors>;

const adamw = { learningRate: 0.05, beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.1, clipNorm: 1e9 };

/** An update and zeros for it to work on. */
async function open(shapes: Readonly<Record<string, readonly number[]>>, optimizer: OptimizerOptions, threads = 2) {
  const shared = shareOut(new Map(Object.entries(shapes)), optimizer);
  const elementwise = flatLayout(shared.elementwise);
  const layout = besides(elementwise, flatLayout(shared.matrices));
  const state: State = { weight: flatTensors(layout), gradient: flatTensors(layout), m: flatTensors(layout), v: flatTensors(elementwise) };
  const update = await openUpdate(optimizer, { chunks: elementwise.chunks, matrices: shared.matrices.values() }, { threads });
  const values = (quantity: keyof State, name: string) => state[quantity].tensors[name]?.float32() as Float32Array;
  return { update, state, values };
}

const near = (found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string) => {
  assert.equal(found.length, expected.length);
  for (let index = 0; index < expected.length; index++)
    assert.ok(Math.abs(found[index]! - expected[index]!) < tolerance, `${what}[${index}]: ${found[index]}, not ${expected[index]}`);
};

type Matrix = number[][];
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0]!.map((_, column) => row.reduce((sum, one, k) => sum + one * b[k]![column]!, 0)));
const transposed = (a: Matrix): Matrix => a[0]!.map((_, column) => a.map((row) => row[column]!));
const combined = (...parts: readonly (readonly [number, Matrix])[]): Matrix =>
  parts[0]![1].map((row, i) => row.map((_, j) => parts.reduce((sum, [factor, matrix]) => sum + factor * matrix[i]![j]!, 0)));

/** Word by word what the protocol says, in float64 and without regard to which side is shorter. */
function orthogonalized(direction: Matrix, { iterations, coefficients: [a, b, c] }: MuonOptions): Matrix {
  const norm = Math.max(Math.hypot(...direction.flat()), 1e-7);
  let x = combined([1 / norm, direction]);
  for (let iteration = 0; iteration < iterations; iteration++) {
    const gram = product(x, transposed(x));
    x = combined([a, x], [b, product(gram, x)], [c, product(product(gram, gram), x)]);
  }
  return x;
}

describe("engine/muon", () => {
  const { cases } = JSON.parse(readFileSync(new URL("muon.json", import.meta.url), "utf8")) as { cases: Golden[] };
  for (const golden of cases) {
    it(`is torch.optim.Muon on a matrix of ${golden.shape.join(" by ")}, step after step`, async () => {
      const { lr, weight_decay: weightDecay, momentum, nesterov, ns_steps: iterations, ns_coefficients: coefficients } = golden;
      const muon = { momentum, nesterov, iterations, coefficients, updateSize: 0.2 };
      const { update, state, values } = await open({ a: golden.shape }, { ...adamw, learningRate: lr, weightDecay, muon });
      values("weight", "a").set(golden.start);
      for (const [index, expected] of golden.steps.entries()) {
        values("gradient", "a").set(expected.gradient);
        await update.apply({ step: index + 1, norm: 1, scale: 1, learningRate: lr }, state);
        near(values("m", "a"), expected.m, 1e-6, `step ${index}, m`);
        near(values("weight", "a"), expected.weight, 5e-6, `step ${index}, weight`);
      }
      update.dispose();
    });
  }

  it("clips and scales the gradient, and updates every matrix by its own shape and all else by AdamW", async () => {
    const shapes = { tall: [9, 4], bias: [5], wide: [4, 9], again: [9, 4], row: [1, 6], experts: [2, 3, 4], still: [3, 3] };
    const muon: MuonOptions = { ...muonDefaults, updateSize: 0.3, iterations: 4 };
    const optimizer = { ...adamw, clipNorm: 1.5, muon };
    const [ours, plain] = [await open(shapes, optimizer), await open(shapes, { ...optimizer, muon: undefined })];
    assert.deepEqual(Object.keys(ours.state.v.tensors), ["bias", "experts"]);
    const at = { step: 1, norm: 6, scale: 0.5, learningRate: 0.02 };
    for (const [index, [name, shape]] of Object.entries(shapes).entries()) {
      const count = shape.reduce((product, length) => product * length, 1);
      for (const each of [ours, plain]) {
        each.values("weight", name).set(random(count, index + 1));
        if (name !== "still") each.values("gradient", name).set(random(count, index + 50));
        each.values("m", name).set(name === "still" ? new Float32Array(count) : random(count, index + 90));
      }
    }
    const before = new Map(
      Object.keys(shapes).map((name) => [name, { w: ours.values("weight", name).slice(), m: ours.values("m", name).slice() }]),
    );
    await ours.update.apply(at, ours.state);
    await plain.update.apply(at, plain.state);

    const factor = (0.5 * 1.5) / 6;
    for (const [name, shape] of Object.entries(shapes)) {
      if (name === "bias" || name === "experts") {
        assert.deepEqual(ours.values("weight", name), plain.values("weight", name));
        continue;
      }
      const [rows, columns] = shape as [number, number];
      const { w, m } = before.get(name)!;
      const gradient = ours.values("gradient", name);
      const matrix = (of: (index: number) => number) =>
        Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => of(i * columns + j)));
      const next = matrix((index) => muon.momentum * m[index]! + (1 - muon.momentum) * factor * gradient[index]!);
      const direction = matrix((index) => muon.momentum * next.flat()[index]! + (1 - muon.momentum) * factor * gradient[index]!);
      const step = 0.02 * muon.updateSize * Math.sqrt(Math.max(rows, columns));
      const change = orthogonalized(direction, muon).flat();
      near(ours.values("m", name), next.flat(), 1e-6, `m of ${name}`);
      near(
        ours.values("weight", name),
        change.map((value, index) => (1 - 0.02 * adamw.weightDecay) * w[index]! - step * value),
        5e-6,
        name,
      );
    }
    ours.update.dispose();
    plain.update.dispose();
  });

  it("steps as far as AdamW does: as the root mean square of the task's learning rate", async () => {
    const { update, state, values } = await open({ a: [24, 16] }, { ...adamw, weightDecay: 0, muon: muonDefaults });
    values("gradient", "a").set(random(24 * 16, 3));
    await update.apply({ step: 1, norm: 1, scale: 1, learningRate: 0.01 }, state);
    const size = Math.hypot(...values("weight", "a")) / Math.sqrt(24 * 16);
    // Near it only: the iterations leave singular values between 0.7 and 1.2.
    assert.ok(size > 0.01 * 0.2 * 0.6 && size < 0.01 * 0.2 * 1.3, `${size}`);
    update.dispose();
  });
});
