/**
 * ONNX Runtime's shared library, loaded once a process and called through its C interface. It is the file that the
 * package `onnxruntime-node` ships; its own JavaScript binding is not used, since it blocks the event loop and copies
 * every output.
 *
 * Rules of this door: handles are `bigint`, 0n is null; a failed call throws a ConnitoError that carries ONNX Runtime's
 * own words; `callAsync` runs on a thread of its own.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { LibraryHandle } from "koffi";
import { ConnitoError } from "../../errors.ts";
import {
  arenaAllocator,
  defaultMemory,
  errorFunctions,
  errorNames,
  interfaceVersion,
  logFatalOnly,
  releaseFunctions,
  statusFunctions,
} from "./interface.ts";

type StatusFunction = keyof typeof statusFunctions;
type ReleaseFunction = keyof typeof releaseFunctions;
type Argument = bigint | number | string;

export interface Library {
  /** ONNX Runtime's version, such as "1.30.0". */
  readonly version: string;
  /** The process's one `OrtEnv`. */
  readonly environment: bigint;
  /** `OrtMemoryInfo` of ordinary memory. */
  readonly memoryInfo: bigint;
  /** `OrtAllocator` that names are returned from. */
  readonly allocator: bigint;
  /** Calls on this thread: only for what takes microseconds. Of an array its address is passed, and the array stays referenced until the call ends. */
  call(name: StatusFunction, ...parameters: (Argument | ArrayBufferView)[]): void;
  /** The same with the address of a zeroed 8-byte slot as the last argument; gives back what was written to it. */
  produce(name: StatusFunction, ...parameters: (Argument | ArrayBufferView)[]): bigint;
  /** Calls on another thread; `memory` is what the addresses among the parameters lie in, and stays referenced until the call ends. */
  callAsync(name: StatusFunction, parameters: readonly Argument[], memory: readonly object[]): Promise<void>;
  release(name: ReleaseFunction, handle: bigint): void;
  /**
   * The address of an array's first byte; valid while the array is referenced and not detached. (A short typed array lives on
   * the JavaScript heap, where the collector moves it, until its `buffer` is asked for, which this does.)
   */
  addressOf(bytes: ArrayBufferView): bigint;
  /** Native memory as an ArrayBuffer, not copied: the caller answers for its lifetime. */
  view(at: bigint, bytes: number): ArrayBuffer;
  /** A NUL-terminated UTF-8 string at an address. */
  text(at: bigint): string;
}

/** Calls may run the whole graph on the calling thread, and the default stack of 128 KiB is too small for that. */
const stackBytes = 8 * 1024 * 1024;

let loading: Promise<Library> | undefined;

/** The library, loaded on first use. Errors: engine-unavailable. */
export function loadLibrary(): Promise<Library> {
  loading ??= load().catch((cause: unknown) => {
    loading = undefined;
    throw cause;
  });
  return loading;
}

/** The path of the shared library for this platform. Errors: engine-unavailable where the package ships none. */
export function libraryPath(platform: string = process.platform, architecture: string = process.arch): string {
  const names: Record<string, string> = {
    linux: "libonnxruntime.so.1",
    darwin: "libonnxruntime.1.dylib",
    win32: "onnxruntime.dll",
  };
  const name = names[platform];
  const root = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
  const path = join(root, "bin", "napi-v6", platform, architecture, name ?? "");
  if (name === undefined || !existsSync(path)) {
    throw unavailable(`onnxruntime-node ships no ONNX Runtime for ${platform} on ${architecture}`);
  }
  return path;
}

/** `M_MMAP_THRESHOLD` of glibc's malloc.h, and from how many bytes on an allocation is given back to the system when it is freed. */
const mmapThreshold = -3;
const returnedBytes = 256 * 1024;

/**
 * From now on what this process frees goes back to the system at once, where its allocator is glibc's: by default it learns to keep blocks of up to 32 MiB
 * for later, which costs no page faults and, when layers come and go, several layers' memory. What it gives also returns what was freed in smaller blocks,
 * of which each thread keeps its own; it takes about a millisecond. Elsewhere nothing happens.
 */
export async function returnFreedMemory(): Promise<() => void> {
  if (process.platform !== "linux") return () => undefined;
  const { default: koffi } = await import("koffi");
  try {
    const library = koffi.load("libc.so.6");
    library.func("mallopt", "int", ["int", "int"])(mmapThreshold, returnedBytes);
    const trim = library.func("malloc_trim", "int", ["size_t"]);
    return () => void trim(0);
  } catch {
    // Another C library.
    return () => undefined;
  }
}

function unavailable(message: string, cause?: unknown): ConnitoError {
  return new ConnitoError(message, {
    code: "engine-unavailable",
    exit: "unexpected",
    hint: "install the packages again with `npm ci`, on Linux (x64, arm64), macOS (arm64) or Windows (x64, arm64)",
    cause,
  });
}

function failure(code: number, message: string): ConnitoError {
  if (/failed to allocate memory|bad_alloc/i.test(message)) {
    return new ConnitoError(`ONNX Runtime ran out of memory: ${message}`, {
      code: "engine-out-of-memory",
      exit: "unexpected",
      hint: "free memory, or lower the task's batch or sequence length",
      retryable: true,
    });
  }
  return new ConnitoError(`ONNX Runtime: ${message} (${errorNames[code] ?? `code ${code}`})`, {
    code: "engine-failed",
    exit: "unexpected",
    hint: "this is a fault in the graph or in what was fed to it; please report it with the message above",
  });
}

/** Held for the life of the process: a library handle that is collected unloads the code under our feet. */
let handle: LibraryHandle | undefined;

/** Memory that a call reads or writes: the collector must not take it, whatever the callers forget meanwhile. */
const inUse = new Set<readonly object[]>();

async function load(): Promise<Library> {
  const path = libraryPath();
  const { default: koffi } = await import("koffi");
  // Whoever loaded a library before, with these settings, has closed them to changes.
  const { sync_stack_size: sync, async_stack_size: async } = koffi.config();
  if (sync !== stackBytes || async !== stackBytes) koffi.config({ sync_stack_size: stackBytes, async_stack_size: stackBytes });
  try {
    handle = koffi.load(path);
  } catch (cause) {
    throw unavailable(`cannot load ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  const pointerAt = (at: bigint, index: number) => BigInt(koffi.decode(at, index * 8, "uintptr_t"));
  const functionAt = (at: bigint, index: number, result: string, parameters: readonly string[]) =>
    koffi.decode(pointerAt(at, index), koffi.proto(result, [...parameters]));

  const base = BigInt(handle.func("OrtGetApiBase", "uintptr_t", [])());
  const version = String(functionAt(base, 1, "str", [])());
  // Asking for a version that the library does not know makes it write to stderr, so compare first.
  const served = Number(version.split(".")[1]);
  const table = served >= interfaceVersion ? BigInt(functionAt(base, 0, "uintptr_t", ["uint32_t"])(interfaceVersion)) : 0n;
  if (table === 0n) {
    throw unavailable(`ONNX Runtime ${version} at ${path} does not serve version ${interfaceVersion} of its C interface`);
  }

  const statuses = Object.fromEntries(
    Object.entries(statusFunctions).map(([name, [index, parameters]]) => [name, functionAt(table, index, "uintptr_t", parameters)]),
  ) as Record<StatusFunction, ReturnType<LibraryHandle["func"]>>;
  const releases = Object.fromEntries(
    Object.entries(releaseFunctions).map(([name, index]) => [name, functionAt(table, index, "void", ["uintptr_t"])]),
  ) as Record<ReleaseFunction, ReturnType<LibraryHandle["func"]>>;
  const errorCode = functionAt(table, errorFunctions.code, "int", ["uintptr_t"]);
  const errorMessage = functionAt(table, errorFunctions.message, "str", ["uintptr_t"]);

  const check = (result: number | bigint) => {
    const status = BigInt(result);
    if (status === 0n) return;
    const error = failure(Number(errorCode(status)), String(errorMessage(status)));
    releases.status(status);
    throw error;
  };
  const addressOf = (bytes: ArrayBufferView) => BigInt(koffi.address(bytes.buffer)) + BigInt(bytes.byteOffset);
  const call: Library["call"] = (name, ...parameters) => {
    const arrays = parameters.filter((one) => typeof one === "object");
    inUse.add(arrays);
    try {
      check(statuses[name](...parameters.map((one) => (typeof one === "object" ? addressOf(one) : one))));
    } finally {
      inUse.delete(arrays);
    }
  };
  // One slot serves all such calls: each has ended before the next begins.
  const slot = createSlots(1);
  const produce: Library["produce"] = (name, ...parameters) => {
    slot[0] = 0n;
    call(name, ...parameters, slot);
    return slot[0];
  };

  const environment = produce("createEnvironment", logFatalOnly, "connito");
  call("disableTelemetryEvents", environment);
  return {
    version,
    environment,
    memoryInfo: produce("createCpuMemoryInfo", arenaAllocator, defaultMemory),
    allocator: produce("defaultAllocator"),
    call,
    produce,
    callAsync: (name, parameters, memory) =>
      new Promise<void>((resolve, reject) => {
        inUse.add(memory);
        statuses[name].async(...parameters, (problem: unknown, result: number | bigint) => {
          inUse.delete(memory);
          try {
            if (problem) throw problem;
            check(result);
            resolve();
          } catch (cause) {
            reject(cause);
          }
        });
      }),
    release: (name, released) => void releases[name](released),
    addressOf,
    view: (at, bytes) => koffi.view(at, bytes),
    text: (at) => koffi.decode.string(at),
  };
}

/** Zeroed 8-byte slots for handles, addresses and sizes. */
export function createSlots(count: number): BigUint64Array<ArrayBuffer> {
  return new BigUint64Array(new ArrayBuffer(count * 8));
}
