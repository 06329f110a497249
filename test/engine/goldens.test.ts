/**
 * The engine against transformers: logits, loss and gradients of small random checkpoints of every family that it computes. What transformers gives stands in
 * goldens/FAMILY.json and comes from `npm run goldens`; nothing of it is needed here. With GOLDEN_DIFFERENCES=1 the largest differences of each family are printed.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { layOut } from "../../src/engine/decoder/batch.ts";
import { buildDecoder, targetsInput, tokensInput } from "../../src/engine/decoder/decoder.ts";
import { gradients } from "../../src/engine/graph/gradient.ts";
import { createGraph, type Tensor } from "../../src/engine/graph/graph.ts";
import { lowerGraph } from "../../src/engine/graph/lower.ts";
import { mean } from "../../src/engine/graph/operators/reduce.ts";
import { encodeModel } from "../../src/engine/onnx/writer.ts";
import { openSession } from "../../src/engine/runtime/session.ts";
import { float32Value, int64Value, type Value } from "../../src/engine/runtime/value.ts";
import {
  type Architecture,
  creatableFamilies,
  cutTensor,
  familyNamed,
  isTrainable,
  listTensors,
  listWeights,
  readArchitecture,
  type TensorSpec,
} from "../../src/model/families/index.ts";
import { goldenTokens, goldenValues, goldenWeight, withTwins } from "./golden-values.ts";

interface Golden {
  readonly name: string;
  readonly seed: string;
  readonly sequences: number;
  readonly positions: number;
  readonly twins?: readonly (readonly [number, number])[];
  /** Experts whose gradients are stored whole. */
  readonly whole?: readonly number[];
  readonly config: Record<string, unknown>;
  /** [sequences, positions, vocabulary] */
  readonly logits: string;
  readonly loss: number;
  readonly tensors: Record<string, { shape: number[]; gradient?: [norm: number, a: number, b: number]; whole?: string }>;
}

const directory = join(import.meta.dirname, "goldens");
const files = readdirSync(directory).sort();
const floats = (text: string) => new Float32Array(Uint8Array.from(Buffer.from(text, "base64")).buffer);
const product = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, index) => sum + value * (b[index] as number), 0);

/** A checkpoint's tensors from those that go by the engine's names, as far as they are there: a fused one is the parts of its experts, one after another. */
function asStored(architecture: Architecture, weights: ReadonlyMap<string, Float32Array>): Map<string, Float32Array> {
  const stored = new Map<string, Float32Array>();
  for (const spec of listTensors(architecture)) {
    const parts = cutTensor(spec).map(({ name }) => weights.get(name));
    if (!parts.includes(undefined)) stored.set(spec.name, Float32Array.from((parts as Float32Array[]).flatMap((part) => [...part])));
  }
  return stored;
}

/** The other way round; the parts share the tensors' memory. */
function asWeights(architecture: Architecture, tensors: ReadonlyMap<string, Float32Array>): Map<string, Float32Array> {
  return new Map(
    listWeights(architecture).flatMap(({ name, shape, expert }): [string, Float32Array][] => {
      const tensor = tensors.get(name.replace(/#\d+$/, ""));
      if (tensor === undefined) return [];
      const length = shape.reduce((elements, one) => elements * one, 1);
      const offset = name.includes("#") ? (expert as number) * length : 0;
      return [[name, tensor.subarray(offset, offset + length)]];
    }),
  );
}

/** Tensors of one form as those of another, as far as they are there. What both have is told by part, layer and expert; a joined matrix is the gate's rows, then the other's. */
function inForm(from: Architecture, to: Architecture, tensors: ReadonlyMap<string, Float32Array>): Map<string, Float32Array> {
  const key = (part: unknown, { layer, expert }: TensorSpec) => `${part}/${layer}/${expert}`;
  const given = asWeights(from, tensors);
  const byPart = new Map<string, Float32Array>();
  for (const spec of listWeights(from)) {
    const values = given.get(spec.name);
    if (values === undefined) continue;
    byPart.set(key(spec.part, spec), values);
    if (spec.part !== "expert.gateUp") continue;
    byPart.set(key("expert.gate", spec), values.subarray(0, values.length / 2));
    byPart.set(key("expert.up", spec), values.subarray(values.length / 2));
  }
  const weights = listWeights(to).flatMap((spec): [string, Float32Array][] => {
    const halves = [byPart.get(key("expert.gate", spec)), byPart.get(key("expert.up", spec))];
    const joined = spec.part === "expert.gateUp" && !halves.includes(undefined);
    const values = joined ? Float32Array.from((halves as Float32Array[]).flatMap((half) => [...half])) : byPart.get(key(spec.part, spec));
    return values === undefined ? [] : [[spec.name, values]];
  });
  return asStored(to, new Map(weights));
}

type Computed = Awaited<ReturnType<typeof compute>>;

/** The tensors that a case has, by their stored names. */
function tensorsOf({ seed, tensors, twins = [] }: Golden, { experts }: Architecture): Map<string, Float32Array> {
  const values = new Map(Object.entries(tensors).map(([name, { shape }]) => [name, goldenWeight(seed, name, shape)]));
  withTwins(values, twins, experts, (first) => first);
  return values;
}

/** The largest differences of a family: of logits as they are, of gradients as a share of the tensor's own (its length, or its largest value where it is stored whole). */
interface Differences {
  logits: number;
  gradients: number;
}

const differences = new Map<string, Differences>();

/** Logits, loss and gradients, by stored names, are those of the golden file. */
function checkComputed(golden: Golden, { family, experts }: Architecture, computed: Pick<Computed, "logits" | "loss" | "gradients">): void {
  const most = differences.get(family) ?? { logits: 0, gradients: 0 };
  differences.set(family, most);
  const expected = floats(golden.logits);
  assert.equal(computed.logits.length, expected.length);
  const worst = computed.logits.reduce((most, value, index) => Math.max(most, Math.abs(value - (expected[index] as number))), 0);
  most.logits = Math.max(most.logits, worst);
  assert.ok(worst < 1e-4, `logits differ by ${worst}`);
  assert.ok(Math.abs(computed.loss - golden.loss) < 1e-5, `the loss is ${computed.loss} for ${golden.loss}`);

  withTwins(computed.gradients, golden.twins ?? [], experts, (first, second) => first + second);
  for (const [name, { gradient, whole }] of Object.entries(golden.tensors)) {
    if (gradient === undefined) continue;
    const own = Float64Array.from(computed.gradients.get(name) as Float32Array);
    const [norm, ...products] = gradient;
    const tolerance = 1e-4 * norm + 1e-8;
    const longer = Math.abs(Math.sqrt(product(own, own)) - norm);
    if (norm > 1e-6) most.gradients = Math.max(most.gradients, longer / norm);
    assert.ok(longer <= tolerance, `the gradient of ${name} is ${Math.hypot(...own)} long, not ${norm}`);
    for (const [index, which] of ["a", "b"].entries()) {
      const vector = goldenValues(`${which}/${name}`, own.length);
      const difference = Math.abs(product(own, vector) - (products[index] as number));
      assert.ok(difference <= tolerance * Math.sqrt(product(vector, vector)), `the gradient of ${name} has another direction`);
    }
    if (whole === undefined) continue;
    const all = floats(whole);
    const largest = all.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    for (const [index, value] of all.entries()) {
      if (largest > 1e-6) most.gradients = Math.max(most.gradients, Math.abs((own[index] as number) - value) / largest);
      assert.ok(
        Math.abs((own[index] as number) - value) <= 1e-4 * largest,
        `the gradient of ${name} at ${index} is ${own[index]}, not ${value}`,
      );
    }
  }
}

/** What the engine computes for a case: logits in the order of the golden file, the loss, the gradients by stored name, and by layer the experts of each token. */
async function compute(architecture: Architecture, golden: Golden, tensors: ReadonlyMap<string, Float32Array>) {
  const { sequences, positions, seed } = golden;
  const batch = { sequences, positions };
  const graph = createGraph();
  const { weights, logits, losses, routed } = buildDecoder(graph, architecture, batch);
  const trained = listWeights(architecture).filter(isTrainable);
  const loss = mean(losses);
  const derived = gradients(
    loss,
    trained.map(({ name }) => weights.byName.get(name) as Tensor),
  );
  const outputs = Object.fromEntries([
    ...trained.map(({ name }, index) => [`gradient.${name}`, derived[index] as Tensor]),
    ...routed.map(({ layer, experts }) => [`experts.${layer}`, experts]),
  ]);
  const session = await openSession(encodeModel(lowerGraph(graph, { logits, loss, ...outputs })), { threads: 1 });
  try {
    const { vocabularySize } = architecture;
    const { tokens, targets } = layOut(goldenTokens(seed, sequences, positions + 1, vocabularySize), batch, vocabularySize);
    const values = new Map<string, Value>([
      [tokensInput, int64Value([tokens.length], tokens)],
      [targetsInput, int64Value([targets.length], targets)],
    ]);
    const given = asWeights(architecture, tensors);
    for (const { name, shape } of listWeights(architecture))
      values.set(name, float32Value(shape, (given.get(name) as Float32Array).slice()));
    const results = await session.run(Object.fromEntries(session.inputs.map((name) => [name, values.get(name) as Value])));
    const output = (name: string) => (results[name] as Value).float32();
    const rows = output("logits");
    const bySequence = Float32Array.from({ length: rows.length }, (_, index) => {
      const [row, column] = [Math.floor(index / vocabularySize), index % vocabularySize];
      const [sequence, position] = [Math.floor(row / positions), row % positions];
      return rows[(position * sequences + sequence) * vocabularySize + column] as number;
    });
    const ofTrained = new Map(trained.map(({ name }) => [name, output(`gradient.${name}`).slice()]));
    const chosen = routed.map(({ layer, experts }) => {
      const all = [...(results[`experts.${layer}`] as Value).int64()].map(Number);
      const each = Number(experts.shape[1]);
      return Array.from({ length: all.length / each }, (_, row) => new Set(all.slice(row * each, (row + 1) * each)));
    });
    return { logits: bySequence, loss: output("loss")[0] as number, gradients: asStored(architecture, ofTrained), chosen };
  } finally {
    session.dispose();
  }
}

/** What the cases of a family must hold between them. */
const kinds: Record<string, (golden: Golden, architecture: Architecture) => boolean> = {
  "odd sizes": (_, { hiddenSize, vocabularySize, experts }) =>
    [hiddenSize, vocabularySize, experts].filter((size) => size % 2 === 1).length > 1,
  "experts that no token can reach": (golden, architecture) => idleExperts(golden, architecture) > 0,
  "experts whose scores tie": ({ twins = [] }) => twins.length > 0,
  "gradients of experts, whole": ({ whole = [] }) => whole.length > 0,
};

/** Experts of a layer that have no tokens, however they are chosen. */
function idleExperts({ sequences, positions }: Golden, { experts, expertsPerToken }: Architecture): number {
  return Math.max(0, experts - sequences * positions * expertsPerToken);
}

const goldensIn = (file: string): Golden[] => JSON.parse(readFileSync(join(directory, file), "utf8"));

describe("engine/goldens", () => {
  after(() => {
    if (process.env["GOLDEN_DIFFERENCES"] !== "1") return;
    for (const [family, { logits, gradients }] of differences)
      console.log(`${family}: logits ${logits.toExponential(1)}, gradients ${gradients.toExponential(1)}`);
  });

  it("has golden files of every family that the engine computes", () => {
    assert.deepEqual(
      files.map((file) => file.slice(0, -".json".length)),
      creatableFamilies.toSorted(),
      "a family that is computed has cases in scripts/goldens/cases.json; `npm run goldens -- NAME` makes their files",
    );
  });

  it("has cases of several shapes of each, with odd sizes, idle experts and ties", () => {
    for (const file of files) {
      const cases = goldensIn(file).map((golden) => [golden, readArchitecture(golden.config)] as const);
      const shapes = new Set(
        cases.map(([, { hiddenSize, experts, expertsPerToken, layers }]) => [hiddenSize, experts, expertsPerToken, layers].join()),
      );
      assert.ok(shapes.size >= 3, `${file}: ${[...shapes]}`);
      for (const [kind, has] of Object.entries(kinds))
        assert.ok(
          cases.some(([golden, architecture]) => has(golden, architecture)),
          `${file}: ${kind}`,
        );
    }
  });

  for (const file of files) {
    for (const golden of goldensIn(file)) {
      it(`computes ${file.slice(0, -".json".length)}, ${golden.name}, as transformers does`, async () => {
        const shapes = new Map(Object.entries(golden.tensors).map(([name, { shape }]) => [name, shape]));
        const architecture = readArchitecture(golden.config, new Set(shapes.keys()));
        assert.deepEqual(
          new Map(listTensors(architecture).map(({ name, shape }) => [name, shape])),
          new Map(listTensors(architecture).map(({ name }) => [name, shapes.get(name)])),
          "every tensor that the family lists is in the checkpoint, in its shape",
        );
        assert.equal(listTensors(architecture).length, shapes.size, "and no other");

        const computed = await compute(architecture, golden, tensorsOf(golden, architecture));

        const { twins = [] } = golden;
        if (twins.length > 0) {
          const torn = computed.chosen.flat().filter((own) => twins.some(([first, second]) => own.has(first) !== own.has(second)));
          assert.ok(torn.length > 0, "no token had to choose between equal scores");
        }

        checkComputed(golden, architecture, computed);
      });
    }

    const [odd] = goldensIn(file).filter(({ name }) => name === "odd") as [Golden];
    const separate = readArchitecture(odd.config);
    if (!familyNamed(separate.family).forms.includes("fused")) continue;
    it(`computes ${separate.family} with fused experts as with separate ones`, async () => {
      const names = listTensors({ ...separate, form: "fused" }).map(({ name }) => name);
      const fused = readArchitecture(odd.config, new Set(names));
      assert.deepEqual([separate.form, fused.form], ["separate", "fused"]);
      const tensors = inForm(separate, fused, tensorsOf(odd, separate));
      assert.deepEqual([...tensors.keys()].sort(), names.sort());
      assert.ok(names.some((name) => name.endsWith(".gate_up_proj")));
      const computed = await compute(fused, odd, tensors);
      checkComputed(odd, separate, { ...computed, gradients: inForm(fused, separate, computed.gradients) });
    });
  }
});
