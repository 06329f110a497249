import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeModel } from "../../../src/engine/onnx/writer.ts";
import { libraryPath, loadLibrary } from "../../../src/engine/runtime/library.ts";
import { openSession, type Session } from "../../../src/engine/runtime/session.ts";
import { boolValue, float32Value, int32Value, int64Value, type Value } from "../../../src/engine/runtime/value.ts";

/** w' = w + g * 0.5: the form of every optimizer's update. */
function updateModel(length: number): Uint8Array {
  const tensor = (name: string) => ({ name, type: "float32" as const, shape: [length] });
  return encodeModel({
    inputs: [tensor("weights"), tensor("gradient")],
    outputs: [tensor("updated"), tensor("scaled")],
    initializers: { step: { type: "float32", shape: [], data: new Float32Array([0.5]) } },
    nodes: [
      { operator: "Mul", inputs: ["gradient", "step"], outputs: ["scaled"] },
      { operator: "Add", inputs: ["weights", "scaled"], outputs: ["updated"] },
    ],
  });
}

/** A chain of products of a square matrix with itself: as slow as its depth says. */
function slowModel(size: number, depth: number): Uint8Array {
  const tensor = (name: string) => ({ name, type: "float32" as const, shape: [size, size] });
  return encodeModel({
    inputs: [tensor("x0")],
    outputs: [tensor(`x${depth}`)],
    nodes: Array.from({ length: depth }, (_, index) => ({ operator: "MatMul", inputs: [`x${index}`, "x0"], outputs: [`x${index + 1}`] })),
  });
}

const vector = (...data: number[]) => float32Value([data.length], new Float32Array(data));

/** y = x w, with w handed over at load. */
const externalModel = () =>
  encodeModel({
    inputs: [{ name: "x", type: "float32", shape: [1, 2] }],
    outputs: [{ name: "y", type: "float32", shape: [1, 2] }],
    externals: [{ name: "w", type: "float32", shape: [2, 2] }],
    nodes: [{ operator: "Gemm", inputs: ["x", "w"], outputs: ["y"] }],
  });

describe("engine/runtime/session", () => {
  it("takes constants at load, and refuses a model without them", async () => {
    const w = float32Value([2, 2], Float32Array.of(1, 2, 3, 4));
    const loaded = await openSession(externalModel(), { threads: 1, constants: { w } });
    assert.deepEqual(loaded.inputs, ["x"]);
    const { y } = await loaded.run({ x: float32Value([1, 2], Float32Array.of(10, 1)) });
    assert.deepEqual([...(y?.float32() ?? [])], [13, 24]);
    loaded.dispose();
    await assert.rejects(openSession(externalModel(), { threads: 1 }), { code: "engine-failed" });
  });

  let session: Session;
  before(async () => {
    session = await openSession(updateModel(3), { threads: 1 });
  });
  after(() => session.dispose());

  it("runs a model, all outputs or those asked for", async () => {
    assert.deepEqual(
      [session.inputs, session.outputs],
      [
        ["weights", "gradient"],
        ["updated", "scaled"],
      ],
    );
    const { updated, scaled } = await session.run({ weights: vector(1, 2, 3), gradient: vector(2, 4, 6) });
    assert.deepEqual([updated?.shape, updated?.type], [[3], "float32"]);
    assert.deepEqual(
      [[...(updated?.float32() ?? [])], [...(scaled?.float32() ?? [])]],
      [
        [2, 4, 6],
        [1, 2, 3],
      ],
    );
    const one = await session.run({ weights: vector(1, 2, 3), gradient: vector(2, 4, 6) }, ["scaled"]);
    assert.deepEqual(Object.keys(one), ["scaled"]);
  });

  it("feeds an output back without a copy: what is written to its array is what the next run reads", async () => {
    const gradient = vector(0, 0, 0);
    const { updated } = await session.run({ weights: vector(1, 2, 3), gradient }, ["updated"]);
    assert.ok(updated);
    updated.float32()[1] = 20;
    const again = await session.run({ weights: updated, gradient }, ["updated"]);
    assert.deepEqual([...(again.updated as Value).float32()], [1, 20, 3]);
  });

  it("writes an output into a given value, which may be the input it updates", async () => {
    const data = new Float32Array([1, 2, 3]);
    const weights = float32Value([3], data);
    const result = await session.run({ weights, gradient: vector(2, 2, 2) }, ["updated"], { into: { updated: weights } });
    assert.equal(result.updated, weights);
    assert.deepEqual([...data], [2, 3, 4]);
  });

  it("feeds small arrays, and windows of larger ones, where they lie", async () => {
    const larger = new Float32Array([9, 1, 2, 3, 9]);
    const { updated } = await session.run({ weights: float32Value([3], larger.subarray(1, 4)), gradient: vector(2, 2, 2) }, ["updated"]);
    assert.deepEqual([...(updated?.float32() ?? [])], [2, 3, 4]);
  });

  it("carries every element type, scalars and empty tensors through", async () => {
    const forms = [
      { type: "float32", shape: [], value: float32Value([], new Float32Array([1.25])) },
      { type: "int32", shape: [2], value: int32Value([2], new Int32Array([-5, 5])) },
      { type: "int64", shape: [1, 2], value: int64Value([1, 2], new BigInt64Array([-(2n ** 62n), 7n])) },
      { type: "bool", shape: [3], value: boolValue([3], new Uint8Array([1, 0, 1])) },
      { type: "float32", shape: [0, 4], value: float32Value([0, 4], new Float32Array(0)) },
    ] as const;
    for (const { type, shape, value } of forms) {
      const identity = await openSession(
        encodeModel({
          inputs: [{ name: "given", type, shape }],
          outputs: [{ name: "same", type, shape }],
          nodes: [{ operator: "Identity", inputs: ["given"], outputs: ["same"] }],
        }),
      );
      const { same } = await identity.run({ given: value });
      assert.deepEqual([same?.type, same?.shape], [type, shape]);
      assert.deepEqual(same?.[type](), value[type]());
      identity.dispose();
    }
  });

  it("reads a model from a file, and gives the same numbers whatever the options", async () => {
    const directory = await mkdtemp(join(tmpdir(), "connito-session-"));
    try {
      const path = join(directory, "model.onnx");
      await writeFile(path, updateModel(3));
      const options = {
        threads: 2,
        prepack: false,
        spin: 50,
        optimization: "none",

        profile: join(directory, "profile"),
      } as const;
      const other = await openSession(path, options);
      const { updated } = await other.run({ weights: vector(1, 2, 3), gradient: vector(2, 4, 6) }, ["updated"]);
      other.dispose();
      assert.deepEqual([...(updated?.float32() ?? [])], [2, 4, 6]);
      assert.ok((await readdir(directory)).some((name) => name.startsWith("profile") && name.endsWith(".json")));
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("leaves the event loop free, and runs several at once", async () => {
    const slow = await openSession(slowModel(384, 20), { threads: 1 });
    const x0 = float32Value([384, 384], new Float32Array(384 * 384).fill(1 / 384));
    let turns = 0;
    let running = true;
    const count = () => {
      turns += 1;
      if (running) setImmediate(count);
    };
    setImmediate(count);
    const results = await Promise.all([slow.run({ x0 }), slow.run({ x0 })]);
    running = false;
    assert.ok(turns > 10, `${turns} turns of the event loop during two runs`);
    for (const { x20 } of results) assert.ok(Math.abs((x20?.float32()[777] ?? 0) - 1 / 384) < 1e-6);
    slow.dispose();
  });

  it("lets runs and values under way end when they are disposed of meanwhile", async () => {
    const slow = await openSession(slowModel(256, 10), { threads: 1 });
    const x0 = float32Value([256, 256], new Float32Array(256 * 256).fill(1 / 256));
    const { x10 } = await slow.run({ x0 });
    assert.ok(x10);
    const pending = slow.run({ x0: x10 });
    x10.dispose();
    slow.dispose();
    const again = await pending;
    assert.ok(Math.abs((again.x10?.float32()[5] ?? 0) - 1 / 256) < 1e-6);
    await assert.rejects(slow.run({ x0 }), { code: "engine-feed", message: /disposed/ });
    slow.dispose();
  });

  it("ends a run early when its signal fires", async () => {
    const slow = await openSession(slowModel(512, 60), { threads: 1 });
    const x0 = float32Value([512, 512], new Float32Array(512 * 512).fill(1 / 512));
    const abort = new AbortController();
    const pending = slow.run({ x0 }, undefined, { signal: abort.signal });
    setImmediate(() => abort.abort(new Error("the window is over")));
    await assert.rejects(pending, { message: "the window is over" });
    await assert.rejects(slow.run({ x0 }, undefined, { signal: abort.signal }), { message: "the window is over" });
    slow.dispose();
  });

  it("does not grow while outputs are fed back", async () => {
    const length = 1 << 20;
    const large = await openSession(updateModel(length), { threads: 1 });
    const gradient = float32Value([length], new Float32Array(length).fill(2));
    let weights = float32Value([length], new Float32Array(length));
    const steps = async (count: number) => {
      for (let step = 0; step < count; step++) {
        const { updated } = await large.run({ weights, gradient }, ["updated"]);
        assert.ok(updated);
        weights.dispose();
        weights = updated;
      }
    };
    await steps(20);
    const before = process.memoryUsage().rss;
    await steps(200);
    const growth = process.memoryUsage().rss - before;
    assert.equal(weights.float32()[length - 1], 220);
    // Keeping every output would be 800 MiB.
    assert.ok(growth < 128 * 1024 * 1024, `grew by ${growth} bytes`);
    large.dispose();
  });

  describe("refuses", () => {
    it("a malformed model, and a missing file", async () => {
      await assert.rejects(openSession(new Uint8Array([1, 2, 3])), { code: "engine-failed", message: /protobuf/ });
      await assert.rejects(openSession(new Uint8Array(0)), { code: "engine-failed" });
      await assert.rejects(openSession(updateModel(3).subarray(0, 100)), { code: "engine-failed" });
      await assert.rejects(openSession(join(tmpdir(), "no-such-model.onnx")), { code: "engine-failed", message: /no such file/ });
    });

    it("a model with an operator that does not exist", async () => {
      const model = encodeModel({
        inputs: [],
        outputs: [{ name: "y", type: "float32", shape: [1] }],
        nodes: [{ operator: "NoSuchOperator", inputs: [], outputs: ["y"] }],
      });
      await assert.rejects(openSession(model), { code: "engine-failed", message: /NoSuchOperator/ });
    });

    it("names that are missing or unknown", async () => {
      const [weights, gradient] = [vector(1, 2, 3), vector(1, 2, 3)];
      await assert.rejects(session.run({ weights }), { code: "engine-feed", message: /gradient is not fed/ });
      await assert.rejects(session.run({ weights, gradient, more: weights }), { code: "engine-feed", message: /no input more/ });
      await assert.rejects(session.run({ weights, gradient }, ["nothing"]), { code: "engine-feed", message: /no output nothing/ });
      await assert.rejects(session.run({ weights, gradient }, ["updated"], { into: { scaled: weights } }), { code: "engine-feed" });
    });

    it("tensors of the wrong shape or type, in ONNX Runtime's words", async () => {
      await assert.rejects(session.run({ weights: vector(1, 2), gradient: vector(1, 2, 3) }), {
        code: "engine-failed",
        message: /weights/,
      });
      const whole = int32Value([3], new Int32Array(3));
      await assert.rejects(session.run({ weights: whole, gradient: vector(1, 2, 3) }), {
        code: "engine-failed",
        message: /Unexpected input data type/,
      });
    });

    it("an output type that it cannot show", async () => {
      const doubles = await openSession(
        encodeModel({
          inputs: [{ name: "x", type: "float32", shape: [1] }],
          outputs: [{ name: "y", type: "uint8", shape: [1] }],
          nodes: [{ operator: "Cast", inputs: ["x"], outputs: ["y"], attributes: { to: { int: 2 } } }],
        }),
      );
      await assert.rejects(doubles.run({ x: vector(1) }), { code: "engine-value", message: /element type 2/ });
      doubles.dispose();
    });

    it("a platform that has no library", () => {
      assert.throws(() => libraryPath("sunos", "sparc"), { code: "engine-unavailable" });
      assert.throws(() => libraryPath("darwin", "x64"), { code: "engine-unavailable" });
    });
  });

  it("is the version that the interface table was taken for", async () => {
    const library = await loadLibrary();
    assert.match(library.version, /^1\.\d+\.\d+$/);
    assert.equal(await loadLibrary(), library);
  });
});
