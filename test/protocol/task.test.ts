import assert from "node:assert/strict";
import fc from "fast-check";
import { canonicalJson } from "../../src/protocol/canonical.ts";
import { sha256, toHex } from "../../src/protocol/hash.ts";
import {
  createTask,
  parseTask,
  phasePresets,
  type Task,
  taskDefaults,
  taskHash,
  taskJsonSchema,
  taskProblems,
} from "../../src/protocol/task.ts";
import { muonDefaults, outerOfPlaces } from "../../src/protocol/task-defaults.ts";
import { exampleTask, hash } from "./support.ts";

type Json = Record<string, unknown>;

/** A copy of the task with one place changed, or left out when `value` is undefined. */
function changed(path: string, value: unknown): Json {
  const copy = structuredClone(exampleTask()) as unknown as Json;
  const names = path.split(".");
  const last = names.pop() as string;
  const parent = names.reduce((place, name) => place[name] as Json, copy);
  if (value === undefined) delete parent[last];
  else parent[last] = value;
  return copy;
}

function paths(value: unknown): string[] {
  return taskProblems(value).map(({ path }) => path);
}

/** Paths of all values that are no objects and no lists. */
function leaves(value: unknown, path = ""): string[] {
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([name, item]) => leaves(item, path === "" ? name : `${path}.${name}`));
}

describe("task", () => {
  it("comes back unchanged, and so does its hash", () => {
    const task = exampleTask();
    assert.deepEqual(parseTask(JSON.parse(JSON.stringify(task))), task);
    assert.equal(taskHash(task), toHex(sha256(canonicalJson(JSON.parse(JSON.stringify(task))))));
  });

  it("has another hash when any one value is another", () => {
    const task = exampleTask();
    const all = leaves(task).map((path) => taskHash(changed(path, "changed") as unknown as Task));
    assert.ok(all.length > 40);
    assert.equal(new Set([...all, taskHash(task)]).size, all.length + 1);
  });

  it("refuses every field that is missing or unknown, by its path", () => {
    for (const path of leaves(exampleTask()).filter((leaf) => !/\d/.test(leaf))) {
      assert.deepEqual(paths(changed(path, undefined)), [path]);
    }
    assert.deepEqual(paths(changed("inner.speed", 1)), ["inner.speed"]);
    assert.deepEqual(paths(JSON.parse('{"__proto__": 1, "toString": 2}')).slice(0, 2), ["__proto__", "toString"]);
    assert.deepEqual(paths(changed("data.domains.0.weight", 1)), ["data.domains[0].weight"]);
  });

  it("refuses values outside their limits", () => {
    const wrong: [string, unknown][] = [
      ["format", "connito/task/2"],
      ["name", ""],
      ["name", "a name"],
      ["netuid", 65_536],
      ["netuid", "3"],
      ["model.root", hash("x").toUpperCase()],
      ["model.root", `0x${hash("x")}`],
      ["experts.groups", 0],
      ["experts.groups", 1.5],
      ["experts.selection.score", "loss"],
      ["experts.selection.threshold", 0],
      ["experts.selection.threshold", 1.01],
      ["experts.selection.threshold", Number.NaN],
      ["data.sequenceLength", 0],
      ["data.domains", []],
      ["inner.learningRate", 0],
      ["inner.beta1", 1],
      ["inner.epsilon", -1],
      ["inner.optimizer", "sgd"],
      ["outer.momentum", 1],
      ["cycle.startBlock", 0],
      ["cycle.phases.train", 0],
      ["cycle.phases.reveal", 2],
      ["cycle.phases.score", 2],
      ["cycle.phases.commit", 1],
      ["assignment.missedCycles", 0],
      ["submission.codec", "raw"],
      ["submission.maximumBytes", 0],
      ["evaluation.sequencesPerDomain", 1],
      ["evaluation.stages", 0],
      ["evaluation.errorRate", 0],
      ["evaluation.errorRate", 0.6],
      ["evaluation.minimumScore", 0],
      ["merge.contributors", 0],
      ["merge.scales", []],
      ["merge.method", "average"],
      ["merge.tolerated", 0.5],
      ["merge.normCap", 0.9],
      ["merge.errorRate", 0.6],
      ["validators.scorers", 1],
      ["merge.scales", Array.from({ length: 17 }, () => 1)],
      ["validators.minimumStake", 1_000],
      ["validators.minimumStake", "-1"],
      ["validators.minimumStake", "01"],
      ["validators.minimumStake", "18446744073709551616"],
      ["weights.window", 0],
    ];
    for (const [path, value] of wrong) assert.deepEqual(paths(changed(path, value)), [path], `${path} = ${JSON.stringify(value)}`);
    assert.deepEqual(paths(changed("merge.scales", [1, 0])), ["merge.scales[1]"]);
    assert.deepEqual(paths(changed("validators.minimumStake", "18446744073709551615")), []);
  });

  it("steps without momentum where the codec sends drawn places, unless its owner wants it", () => {
    const outer = (overrides: Parameters<typeof exampleTask>[0]) => exampleTask({ submission: { codec: "signs-10" }, ...overrides }).outer;
    assert.deepEqual(outer({}), { ...taskDefaults.outer, ...outerOfPlaces });
    assert.equal(outer({ outer: { momentum: 0.5 } }).momentum, 0.5);
    assert.deepEqual(exampleTask({ submission: { codec: "block-int8" } }).outer, taskDefaults.outer);
  });

  it("says how Muon works where it is the optimizer, and only there", () => {
    const task = exampleTask({ inner: { optimizer: "muon", muon: { iterations: 3 } } });
    assert.deepEqual(task.inner.muon, { ...muonDefaults, iterations: 3 });
    assert.deepEqual(parseTask(JSON.parse(JSON.stringify(task))), task);
    assert.ok(!("muon" in exampleTask().inner));
    const problems = (inner: Json) => taskProblems({ ...task, inner: { ...task.inner, ...inner } }).map(({ path }) => path);
    const { muon, ...without } = task.inner;
    assert.deepEqual(paths({ ...task, inner: without }), ["inner.muon"]);
    assert.deepEqual(problems({ optimizer: "adamw" }), ["inner.muon"]);
    for (const [field, wrong] of Object.entries({ momentum: 1, nesterov: 1, iterations: 0, coefficients: [1, 2], updateSize: 0, speed: 1 }))
      assert.match(problems({ muon: { ...muon, [field]: wrong } }).join(), new RegExp(`^inner\\.muon\\.${field}`), field);
    assert.deepEqual(problems({ muon: { ...muon, coefficients: [1, 2, 101] } }), ["inner.muon.coefficients[2]"]);
    assert.deepEqual(problems({ muon: { ...muon, momentum: undefined } }), ["inner.muon.momentum"]);
  });

  it("names every problem at once, in words, with what is accepted and what was found", () => {
    const task = changed("cycle.phases.reveal", 2) as Json & { data: Json };
    delete task["model"];
    task["speed"] = 1;
    task.data["sequenceLength"] = "long";
    assert.throws(
      () => parseTask(task),
      (error: Error & { code: string; hint: string }) => {
        assert.equal(error.code, "task-invalid");
        assert.match(error.hint, /connito task schema/);
        assert.match(error.message, /speed is not a field; the fields here are format, name, /);
        assert.match(error.message, /model must be an object, it is missing/);
        assert.match(error.message, /cycle\.phases\.reveal must be a whole number from 3 to 1000000, not 2/);
        assert.match(error.message, /data\.sequenceLength must be a whole number from 1 to 1048576, not "long"/);
        return true;
      },
    );
  });

  it("refuses domains that share a name, and held-out text that is trained on", () => {
    const domains = exampleTask().data.domains;
    const [first, second] = domains as [Json & Task["data"]["domains"][0], Task["data"]["domains"][0]];
    assert.deepEqual(paths(changed("data.domains", [first, { ...second, name: first.name }])), ["data.domains[1].name"]);
    assert.deepEqual(paths(changed("data.domains", [{ ...first, heldOut: second.train }, second])), ["data.domains[0].heldOut"]);
  });

  it("never throws anything but its own error, whatever it is given", () => {
    fc.assert(
      fc.property(
        fc.anything({ withNullPrototype: true }),
        fc.constantFrom(...leaves(exampleTask()), "data", "cycle.phases"),
        (value, path) => {
          for (const candidate of [value, changed(path, value)]) {
            try {
              parseTask(candidate);
            } catch (error) {
              assert.equal((error as { code?: string }).code, "task-invalid");
            }
          }
        },
      ),
    );
  });
});

describe("task builder", () => {
  it("fills in the defaults and lets any of them be overridden", () => {
    const task = exampleTask({ inner: { learningRate: 0.001 }, merge: { scales: [0.5] }, cycle: { phases: { train: 30 } } });
    assert.equal(task.inner.learningRate, 0.001);
    assert.equal(task.inner.beta1, taskDefaults.inner.beta1);
    assert.deepEqual(task.merge, { ...taskDefaults.merge, scales: [0.5] });
    assert.deepEqual(task.cycle.phases, { ...phasePresets["45"], train: 30 });
  });

  it("has presets that last as long as their names say, and are valid", () => {
    for (const [preset, lengths] of Object.entries(phasePresets)) {
      assert.equal(
        Object.values(lengths).reduce((sum, length) => sum + length, 0),
        Number(preset),
      );
      const { name, netuid, model, data, cycle, experts } = exampleTask();
      const { groups, selection } = experts;
      const essentials = { name, netuid, model, domains: data.domains, startBlock: cycle.startBlock, groups, scores: selection.scores };
      assert.deepEqual(createTask(essentials, {}, preset as keyof typeof phasePresets).cycle.phases, lengths);
    }
  });

  it("takes a least training, of which no more is looked at than is asked", () => {
    assert.ok(!("leastTraining" in exampleTask().evaluation));
    const leastTraining = { sequences: 256, drawn: 64 };
    assert.deepEqual(exampleTask({ evaluation: { leastTraining } }).evaluation.leastTraining, leastTraining);
    for (const wrong of [{ sequences: 63 }, { sequences: 15, drawn: 15 }, { drawn: 4097, sequences: 9999 }, { drawn: undefined }])
      assert.throws(() => exampleTask({ evaluation: { leastTraining: { ...leastTraining, ...wrong } } as never }), {
        code: "task-invalid",
      });
  });

  it("refuses what parseTask refuses", () => {
    assert.throws(() => exampleTask({ name: "" }), { code: "task-invalid" });
  });
});

describe("task JSON Schema", () => {
  type Schema = {
    type?: string;
    description?: string;
    properties?: Record<string, Schema>;
    items?: Schema;
    required?: string[];
    additionalProperties?: boolean;
  };

  it("describes every field, requires all but what only some tasks have, and allows no others", () => {
    const walk = (schema: Schema, path: string): void => {
      assert.ok((schema.description ?? "").length > 0, `${path} has no description`);
      if (schema.items?.properties !== undefined) walk(schema.items, `${path}[]`);
      if (schema.properties === undefined) return;
      const required = Object.keys(schema.properties).filter((name) => !["muon", "allotment", "leastTraining"].includes(name));
      assert.deepEqual(schema.required, required, path);
      assert.equal(schema.additionalProperties, false, path);
      for (const [name, property] of Object.entries(schema.properties)) walk(property, `${path}.${name}`);
    };
    walk(taskJsonSchema() as Schema, "task");
  });

  it("states every default", () => {
    const at = (path: string) => path.split(".").reduce((schema, name) => schema.properties?.[name] as Schema, taskJsonSchema() as Schema);
    const check = (value: unknown, path: string): void => {
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        for (const [name, item] of Object.entries(value)) check(item, path === "" ? name : `${path}.${name}`);
        return;
      }
      const written = typeof value === "string" ? value : JSON.stringify(value);
      assert.ok(at(path).description?.endsWith(`Default: ${written}.`), `${path}: ${at(path).description}`);
    };
    check(taskDefaults, "");
    check(muonDefaults, "inner.muon");
  });
});
