/**
 * A model, loaded and ready to run: ONNX bytes (or the path of a file) in, a Session out. Loading and running happen on
 * other threads, so the event loop stays free.
 */

import { ConnitoError } from "../../errors.ts";
import { optimizationLevels } from "./interface.ts";
import { createSlots, type Library, loadLibrary } from "./library.ts";
import { nativeValue, type Pin, pin, type Value } from "./value.ts";

export interface SessionOptions {
  /** Threads that share one operator's work. 0 or absent: as many as ONNX Runtime sees cores. */
  readonly threads?: number;
  /**
   * False leaves constant matrices as they are in the model, where true (the default) re-packs them at load, which costs time and a
   * second copy. Packed and unpacked products may differ in their last bits.
   */
  readonly prepack?: boolean;
  /**
   * What the model declares as external, by name. The values are read where they lie, until the session is disposed of; a matrix that is re-packed is not
   * read again, and the re-packed copy serves all runs.
   */
  readonly constants?: Readonly<Record<string, Value>>;
  /** Microseconds for which a thread without work looks out for more before it sleeps. Without, it sleeps at once: several processes share a machine. */
  readonly spin?: number;
  /** False takes memory from the system and gives it back in each run, where true (the default) keeps it for the next: slower, and smaller between runs. */
  readonly arena?: boolean;
  /** False allocates value by value, where true (the default) takes a run's whole need as one block from the second run on, beside what the first took. */
  readonly pattern?: boolean;
  /** How far the graph is rewritten at load; "all" by default. */
  readonly optimization?: keyof typeof optimizationLevels;
  /** Where to write a profile: a path without ending; the file is complete once the session is disposed of. */
  readonly profile?: string;
}

interface RunOptions {
  /**
   * Values that outputs are written into, by output name; the result then holds the same value. It may be one of the feeds where the graph
   * reads that input for nothing after it has begun to write the output, as an elementwise update does.
   */
  readonly into?: Readonly<Record<string, Value>>;
  /** Ends the run early; it then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /**
   * Runs the graph once. Feeds stay the caller's; each value in the result is the caller's to dispose of. Several runs may be
   * under way at once. Errors: engine-feed (an unknown or missing name), engine-failed, engine-out-of-memory, engine-value.
   */
  run(feeds: Readonly<Record<string, Value>>, outputs?: readonly string[], options?: RunOptions): Promise<Record<string, Value>>;
  /** Releases the model, after the runs that are under way. Values that it produced stay valid. */
  dispose(): void;
}

/** Loads a model. Errors: engine-unavailable, engine-failed (ONNX Runtime refuses the model, and says why), engine-out-of-memory. */
export async function openSession(model: Uint8Array | string, options: SessionOptions = {}): Promise<Session> {
  const library = await loadLibrary();
  const configured = configure(library, options);
  const slot = createSlots(1);
  let constants: Pin[] = [];
  const unpin = () => {
    for (const held of constants) held.unpin();
  };
  try {
    constants = Object.values(options.constants ?? {}).map((value) => pin(value, library));
    await handOver(library, configured, Object.keys(options.constants ?? {}), constants);
    if (typeof model === "string") {
      await library.callAsync("createSession", [library.environment, model, configured, library.addressOf(slot)], [slot]);
    } else {
      const parameters = [library.environment, library.addressOf(model), model.byteLength, configured, library.addressOf(slot)];
      await library.callAsync("createSessionFromArray", parameters, [model, slot]);
    }
  } catch (cause) {
    unpin();
    throw cause;
  } finally {
    library.release("sessionOptions", configured);
  }
  return createSession(library, slot[0] ?? 0n, options.profile !== undefined, unpin);
}

function configure(library: Library, options: SessionOptions): bigint {
  const configured = library.produce("createSessionOptions");
  try {
    library.call("setIntraOpThreads", configured, options.threads ?? 0);
    library.call("setInterOpThreads", configured, 1);
    library.call("setGraphOptimizationLevel", configured, optimizationLevels[options.optimization ?? "all"]);
    if (options.pattern === false) library.call("disableMemoryPattern", configured);
    if (options.arena === false) library.call("disableCpuMemoryArena", configured);
    if (options.profile !== undefined) library.call("enableProfiling", configured, options.profile);
    const entries = {
      "session.intra_op.allow_spinning": options.spin === undefined ? "0" : "1",
      ...(options.spin === undefined ? {} : { "session.intra_op.spin_duration_us": String(options.spin) }),
      "session.inter_op.allow_spinning": "0",
      // Past the arena, which would keep twice what re-packed constants take.
      "session.use_device_allocator_for_initializers": "1",
      "session.disable_prepacking": options.prepack === false ? "1" : "0",
    };
    for (const [key, value] of Object.entries(entries)) library.call("addSessionConfigEntry", configured, key, value);
    return configured;
  } catch (cause) {
    library.release("sessionOptions", configured);
    throw cause;
  }
}

async function handOver(library: Library, configured: bigint, names: readonly string[], constants: readonly Pin[]): Promise<void> {
  if (names.length === 0) return;
  const texts = nativeStrings(library, names);
  const table = createSlots(2 * names.length);
  table.set([...names.map((name) => texts.addresses.get(name) ?? 0n), ...constants.map(({ handle }) => handle)]);
  const at = library.addressOf(table);
  await library.callAsync("addExternalInitializers", [configured, at, at + BigInt(8 * names.length), names.length], [table, texts]);
}

function createSession(library: Library, handle: bigint, profiled: boolean, unpin: () => void): Session {
  const inputs = names(library, handle, "sessionInputCount", "sessionInputName");
  const outputs = names(library, handle, "sessionOutputCount", "sessionOutputName");
  const inputNames = nativeStrings(library, inputs);
  const outputNames = nativeStrings(library, outputs);
  let running = 0;
  let disposed = false;

  const release = () => {
    if (profiled) library.call("allocatorFree", library.allocator, library.produce("sessionEndProfiling", handle, library.allocator));
    library.release("session", handle);
    unpin();
  };

  const run: Session["run"] = async (feeds, wanted = outputs, options = {}) => {
    if (disposed) throw misfed("the session was disposed of");
    options.signal?.throwIfAborted();
    const fed = Object.keys(feeds);
    for (const name of inputs) if (feeds[name] === undefined) throw misfed(`the input ${name} is not fed`);
    for (const name of fed) if (!inputNames.addresses.has(name)) throw misfed(`the graph has no input ${name}`);
    for (const name of wanted) if (!outputNames.addresses.has(name)) throw misfed(`the graph has no output ${name}`);
    for (const name of Object.keys(options.into ?? {}))
      if (!wanted.includes(name)) throw misfed(`${name} is not among the outputs asked for`);

    const pins: Pin[] = [];
    running += 1;
    const stop = options.signal === undefined ? undefined : stoppable(library, options.signal);
    try {
      const table = createSlots(2 * (fed.length + wanted.length));
      const pinned = (value: Value) => {
        const held = pin(value, library);
        pins.push(held);
        return held.handle;
      };
      const firstOutput = 2 * fed.length;
      for (const [index, name] of fed.entries()) {
        table[index] = inputNames.addresses.get(name) ?? 0n;
        table[fed.length + index] = pinned(feeds[name] as Value);
      }
      for (const [index, name] of wanted.entries()) {
        table[firstOutput + index] = outputNames.addresses.get(name) ?? 0n;
        const target = options.into?.[name];
        if (target !== undefined) table[firstOutput + wanted.length + index] = pinned(target);
      }
      const at = library.addressOf(table);
      const slot = (index: number) => at + BigInt(8 * index);
      const parameters = [
        ...[handle, stop?.handle ?? 0n],
        ...[slot(0), slot(fed.length), fed.length],
        ...[slot(firstOutput), wanted.length, slot(firstOutput + wanted.length)],
      ];
      await library.callAsync("run", parameters, [table, inputNames, outputNames, feeds, options]);
      return collect(library, wanted, table.subarray(firstOutput + wanted.length), options.into ?? {});
    } catch (cause) {
      options.signal?.throwIfAborted();
      throw cause;
    } finally {
      stop?.release();
      for (const held of pins) held.unpin();
      running -= 1;
      if (disposed && running === 0) release();
    }
  };

  return {
    inputs,
    outputs,
    run,
    dispose: () => {
      if (disposed) return;
      disposed = true;
      if (running === 0) release();
    },
  };
}

function collect(
  library: Library,
  wanted: readonly string[],
  handles: BigUint64Array,
  into: Readonly<Record<string, Value>>,
): Record<string, Value> {
  const result: Record<string, Value> = {};
  let done = 0;
  try {
    for (const [index, name] of wanted.entries()) {
      done = index + 1;
      result[name] = into[name] ?? nativeValue(handles[index] ?? 0n, library);
    }
    return result;
  } catch (cause) {
    for (const [name, value] of Object.entries(result)) if (into[name] === undefined) value.dispose();
    for (const [index, name] of wanted.entries())
      if (index >= done && into[name] === undefined) library.release("value", handles[index] ?? 0n);
    throw cause;
  }
}

/** Run options that end their run when the signal fires. */
function stoppable(library: Library, signal: AbortSignal): { handle: bigint; release(): void } {
  const handle = library.produce("createRunOptions");
  const terminate = () => library.call("runOptionsSetTerminate", handle);
  signal.addEventListener("abort", terminate, { once: true });
  return {
    handle,
    release: () => {
      signal.removeEventListener("abort", terminate);
      library.release("runOptions", handle);
    },
  };
}

function names(
  library: Library,
  handle: bigint,
  count: "sessionInputCount" | "sessionOutputCount",
  name: "sessionInputName" | "sessionOutputName",
): string[] {
  return Array.from({ length: Number(library.produce(count, handle)) }, (_, index) => {
    const at = library.produce(name, handle, index, library.allocator);
    const text = library.text(at);
    library.call("allocatorFree", library.allocator, at);
    return text;
  });
}

/** NUL-terminated strings side by side in one buffer, and where each begins. */
function nativeStrings(library: Library, texts: readonly string[]): { bytes: Uint8Array; addresses: Map<string, bigint> } {
  const bytes = Buffer.from(texts.map((text) => `${text}\0`).join(""), "utf8");
  const addresses = new Map<string, bigint>();
  let at = library.addressOf(bytes);
  for (const text of texts) {
    addresses.set(text, at);
    at += BigInt(Buffer.byteLength(text) + 1);
  }
  return { bytes, addresses };
}

function misfed(message: string): ConnitoError {
  return new ConnitoError(message, {
    code: "engine-feed",
    exit: "unexpected",
    hint: "this is a fault in the caller of the engine; please report it with the message above",
  });
}
