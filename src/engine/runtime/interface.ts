/**
 * The part of ONNX Runtime's C interface that this project calls, as data: the one place where a position, an argument
 * order or a number of the public header stands.
 *
 * `OrtGetApiBase()` gives `{GetApi(version), GetVersionString()}`; `GetApi` gives `struct OrtApi`, a table of function
 * pointers. Members are only ever added at its end (the sources assert `ReleaseCustomOpDomain` at 101,
 * `ReleaseAvailableProviders` at 126 and so on), so a position stays valid in every later version. The positions below
 * are those of `onnxruntime_c_api.h` for interface version 25, which is the version asked for at load.
 */

/** The interface version whose header the table was taken from; a library that does not serve it is refused. */
export const interfaceVersion = 25;

/** Handles and addresses cross as 64-bit integers, so that nothing is copied or kept by the bridge behind our back. */
const address = "uintptr_t";
const size = "size_t";
/** `ORTCHAR_T *`: file names are UTF-16 on Windows and UTF-8 elsewhere. */
const fileName = process.platform === "win32" ? "str16" : "str";

/** Functions that return an `OrtStatus *` (null is success): position in the table, then the arguments. */
export const statusFunctions = {
  createEnvironment: [3, ["int", "str", address]],
  disableTelemetryEvents: [6, [address]],
  createSession: [7, [address, fileName, address, address]],
  createSessionFromArray: [8, [address, address, size, address, address]],
  run: [9, [address, address, address, address, size, address, size, address]],
  createSessionOptions: [10, [address]],
  enableProfiling: [14, [address, fileName]],
  disableMemoryPattern: [17, [address]],
  disableCpuMemoryArena: [19, [address]],
  setGraphOptimizationLevel: [23, [address, "int"]],
  setIntraOpThreads: [24, [address, "int"]],
  setInterOpThreads: [25, [address, "int"]],
  sessionInputCount: [30, [address, address]],
  sessionOutputCount: [31, [address, address]],
  sessionInputName: [36, [address, size, address, address]],
  sessionOutputName: [37, [address, size, address, address]],
  createRunOptions: [39, [address]],
  runOptionsSetTerminate: [46, [address]],
  createTensorWithData: [49, [address, address, size, address, size, "int", address]],
  tensorData: [51, [address, address]],
  tensorElementType: [60, [address, address]],
  dimensionsCount: [61, [address, address]],
  dimensions: [62, [address, address, size]],
  tensorTypeAndShape: [65, [address, address]],
  createCpuMemoryInfo: [69, ["int", "int", address]],
  allocatorFree: [76, [address, address]],
  defaultAllocator: [78, [address]],
  sessionEndProfiling: [110, [address, address, address]],
  addSessionConfigEntry: [130, [address, "str", "str"]],
  addExternalInitializers: [210, [address, address, address, size]],
} as const satisfies Record<string, readonly [position: number, parameters: readonly string[]]>;

/** Functions that take one handle, accept null and return nothing. */
export const releaseFunctions = {
  status: 93,
  session: 95,
  value: 96,
  runOptions: 97,
  tensorTypeAndShape: 99,
  sessionOptions: 100,
} as const satisfies Record<string, number>;

/** `int GetErrorCode(status)` and `const char *GetErrorMessage(status)`. */
export const errorFunctions = { code: 1, message: 2 } as const;

/** `OrtErrorCode`, by number, as it is shown to a reader. */
export const errorNames = [
  "ok",
  "failed",
  "invalid argument",
  "no such file",
  "no model",
  "engine error",
  "runtime exception",
  "invalid protobuf",
  "model already loaded",
  "not implemented",
  "invalid graph",
  "execution provider failed",
  "model load cancelled",
] as const;

/** `OrtLoggingLevel` 4: only fatal messages reach stderr; everything else arrives as an error with its text. */
export const logFatalOnly = 4;

/** `OrtAllocatorType` 1 (arena) and `OrtMemType` 0 (default): where the tensors that we hand in live. */
export const arenaAllocator = 1;
export const defaultMemory = 0;

/** `GraphOptimizationLevel`. */
export const optimizationLevels = { none: 0, basic: 1, extended: 2, all: 99 } as const;
