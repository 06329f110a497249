/**
 * The task: the one document that says everything participants must agree on (docs/protocol.md, section 3). Its fields, limits and
 * defaults stand in task-schema.ts and task-defaults.ts; here it is checked, built and addressed.
 */
import { toJsonSchema } from "@valibot/to-json-schema";
import * as v from "valibot";
import { ConnitoError } from "../errors.ts";
import { documentHash } from "./canonical.ts";
import type { Hash } from "./hash.ts";
import { muonDefaults, outerOfPlaces, type PhasePreset, phasePresets, taskDefaults } from "./task-defaults.ts";
import { taskSchema } from "./task-schema.ts";

export { type PhasePreset, phasePresets, taskDefaults } from "./task-defaults.ts";

export type Task = v.InferOutput<typeof taskSchema>;
export type TaskDomain = Task["data"]["domains"][number];
export type PhaseLengths = Task["cycle"]["phases"];
export type SelectionRule = Task["experts"]["selection"];

export interface TaskProblem {
  /** Names separated by dots, list places in brackets: `data.domains[0].train`. Empty for the document itself. */
  readonly path: string;
  readonly message: string;
}

type Node = { readonly type?: string; readonly entries?: Record<string, Node>; readonly item?: Node; readonly wrapped?: Node };

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Names every unknown field, and copies the value with each missing field present as `undefined`: valibot stops at the first unknown
 * field and reports a missing one without saying what it accepts. A missing field that need not be there stays away.
 */
function complete(schema: Node, value: unknown, path: string, problems: TaskProblem[]): unknown {
  if (schema.item !== undefined && Array.isArray(value)) {
    const item = schema.item;
    return value.map((entry, index) => complete(item, entry, `${path}[${index}]`, problems));
  }
  if (schema.wrapped !== undefined) return complete(schema.wrapped, value, path, problems);
  if (schema.entries !== undefined && Array.isArray(value)) return "a list";
  if (schema.entries === undefined || !isPlainObject(value)) return value;
  const entries = schema.entries;
  const inside = (key: string) => (path === "" ? key : `${path}.${key}`);
  for (const key of Object.keys(value)) {
    if (Object.hasOwn(entries, key)) continue;
    problems.push({ path: inside(key), message: `is not a field; the fields here are ${Object.keys(entries).join(", ")}` });
  }
  return Object.fromEntries(
    Object.entries(entries)
      .filter(([key, { type }]) => type !== "optional" || Object.hasOwn(value, key))
      .map(([key, entry]) => [key, complete(entry, Object.hasOwn(value, key) ? value[key] : undefined, inside(key), problems)]),
  );
}

function pathOf(issue: v.BaseIssue<unknown>): string {
  return (issue.path ?? []).reduce((path, part) => {
    if (typeof part.key === "number") return `${path}[${part.key}]`;
    return path === "" ? String(part.key) : `${path}.${String(part.key)}`;
  }, "");
}

/** What no single field can show. Takes anything: the rest of the document may be wrong as well. */
function crossProblems(value: unknown): TaskProblem[] {
  const data = isPlainObject(value) ? value.data : undefined;
  const listed = isPlainObject(data) ? data.domains : undefined;
  const domains = Array.isArray(listed) ? listed.map((domain) => (isPlainObject(domain) ? domain : {})) : [];
  const problems: TaskProblem[] = [];
  domains.forEach((domain, index) => {
    const twin = domains.findIndex((other) => typeof other.name === "string" && other.name === domain.name);
    if (twin >= 0 && twin < index) {
      problems.push({
        path: `data.domains[${index}].name`,
        message: `must be a name of its own; data.domains[${twin}] has it already`,
      });
    }
    const leak = domains.findIndex((other) => typeof other.train === "string" && other.train === domain.heldOut);
    if (leak >= 0) {
      problems.push({
        path: `data.domains[${index}].heldOut`,
        message: `must be data that nobody trains on; they are the training data of data.domains[${leak}]`,
      });
    }
  });
  const inner = isPlainObject(value) && isPlainObject(value.inner) ? value.inner : {};
  if (inner.optimizer === "muon" && inner.muon === undefined)
    problems.push({ path: "inner.muon", message: "must be an object, as the optimizer is muon; it is missing" });
  if (inner.optimizer === "adamw" && inner.muon !== undefined)
    problems.push({ path: "inner.muon", message: "must be left out, as the optimizer is adamw" });
  const evaluation = isPlainObject(value) && isPlainObject(value.evaluation) ? value.evaluation : {};
  const { sequences, drawn } = isPlainObject(evaluation.leastTraining) ? evaluation.leastTraining : {};
  if (typeof sequences === "number" && typeof drawn === "number" && drawn > sequences)
    problems.push({
      path: "evaluation.leastTraining.drawn",
      message: `must be at most the ${sequences} sequences that are to be learned from, not ${drawn}`,
    });
  return problems;
}

/** Everything that is wrong with a value as a task, in the order of the fields; empty for a task. */
export function taskProblems(value: unknown): TaskProblem[] {
  const problems: TaskProblem[] = [];
  const whole = complete(taskSchema as unknown as Node, value, "", problems);
  const issues = v.safeParse(taskSchema, whole).issues ?? [];
  problems.push(...issues.map((issue) => ({ path: pathOf(issue), message: issue.message })), ...crossProblems(value));
  const seen = new Set<string>();
  return problems.filter(({ path, message }) => {
    const key = `${path}\n${message}`;
    return !seen.has(key) && seen.add(key);
  });
}

/** The task that a parsed JSON value is. Throws `task-invalid`, naming every problem with its path and what is accepted there. */
export function parseTask(value: unknown): Task {
  const problems = taskProblems(value);
  if (problems.length > 0) {
    const lines = problems.map(({ path, message }) => `${path === "" ? "the task" : path} ${message}`);
    throw new ConnitoError(`The task is not valid:\n  ${lines.join("\n  ")}`, {
      code: "task-invalid",
      exit: "invalidInput",
      hint: "Correct the fields named above; `connito task schema` prints every field with what it accepts.",
    });
  }
  return v.parse(taskSchema, value);
}

/** The address of a task, which the owner anchors on the chain. */
export function taskHash(task: Task): Hash {
  return documentHash(task);
}

/** The JSON Schema of a task (draft 2020-12), with descriptions and defaults. */
export function taskJsonSchema(): Record<string, unknown> {
  const schema = toJsonSchema(taskSchema, { target: "draft-2020-12", errorMode: "ignore" });
  return { ...schema, title: "Connito task" };
}

type DeepPartial<T> = T extends readonly unknown[] ? T : T extends object ? { readonly [Key in keyof T]?: DeepPartial<T[Key]> } : T;

/** What an owner must say: nothing sensible can be assumed for it. */
export interface TaskEssentials {
  readonly name: string;
  readonly netuid: number;
  readonly startBlock: number;
  readonly model: Task["model"];
  readonly groups: number;
  /** Hash of the document of a grouping; the even split when absent. */
  readonly grouping?: Hash | undefined;
  /** Hash of the document of expert scores. */
  readonly scores: Hash;
  readonly domains: readonly TaskDomain[];
}

export type TaskOverrides = DeepPartial<Task>;

/** Objects are merged field by field; anything else, lists too, replaces what was there. */
function merged(base: unknown, over: unknown): unknown {
  if (over === undefined) return base;
  if (!isPlainObject(base) || !isPlainObject(over)) return over;
  const keys = [...new Set([...Object.keys(base), ...Object.keys(over)])];
  return Object.fromEntries(keys.map((key) => [key, merged(base[key], over[key])]));
}

/**
 * A task from what its owner must say and, in `overrides`, whatever should differ from the defaults; `preset` picks the phase
 * lengths. Throws `task-invalid` like `parseTask`.
 */
export function createTask(essentials: TaskEssentials, overrides: TaskOverrides = {}, preset: PhasePreset = "45"): Task {
  const { name, netuid, startBlock, model, groups, grouping, scores, domains } = essentials;
  const muon = overrides.inner?.optimizer === "muon" ? { inner: { muon: muonDefaults } } : {};
  const places = overrides.submission?.codec === "signs-10" ? { outer: outerOfPlaces } : {};
  const filled = merged(merged(taskDefaults, { ...muon, ...places }), {
    format: "connito/task/1",
    name,
    netuid,
    model,
    experts: { groups, ...(grouping === undefined ? {} : { grouping }), selection: { scores } },
    data: { domains },
    cycle: { startBlock, phases: phasePresets[preset] },
  });
  return parseTask(merged(filled, overrides));
}
