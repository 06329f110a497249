/**
 * Being asked to stop. The first SIGINT, SIGTERM or SIGHUP aborts a signal that the running step was given, so that it stops at its
 * next safe point; a second one runs what has to be undone (locks, partial files) and ends the process at once. oclif's own
 * `finally()` is skipped when a signal ends the process, which is why locks register here.
 */

import { setMaxListeners } from "node:events";

const exitBySignal = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

export type StopSignal = keyof typeof exitBySignal;

/** How long a forced exit waits for finalizers that are not done at once. */
const forcedExitMilliseconds = 500;

/** The reason of the abort. A step that passes it on ends the process with the signal's exit code. */
export class Interruption extends Error {
  override readonly name = "Interruption";
  readonly exit: number;

  constructor(signal: StopSignal) {
    super(`Stopped by ${signal}.`);
    this.exit = exitBySignal[signal];
  }
}

/** Releases something; awaited where it returns a promise. */
export type Finalizer = () => unknown;

export interface StopWatch {
  /** Aborted by the first signal, with an Interruption as its reason. */
  readonly signal: AbortSignal;
  /** Registers what must happen before the process ends; returns the function that takes it back. The last registered runs first. */
  onFinish(finalizer: Finalizer): () => void;
  /** Runs the finalizers and stops listening. Every finalizer runs even where another fails; the first failure is thrown at the end. */
  finish(): Promise<void>;
}

export interface StopWatchOptions {
  /** Called when the first signal arrives. */
  readonly onInterrupt?: (interruption: Interruption) => void;
  /** Ends the process; a test gives its own. */
  readonly exit?: (code: number) => void;
  /** Where signals come from; a test gives its own. */
  readonly source?: Pick<NodeJS.EventEmitter, "on" | "off">;
}

export function watchSignals(options: StopWatchOptions = {}): StopWatch {
  const { onInterrupt, exit = process.exit, source = process } = options;
  const controller = new AbortController();
  // Each of many downloads listens.
  setMaxListeners(0, controller.signal);
  const finalizers = new Set<Finalizer>();

  const runFinalizers = async () => {
    const pending = [...finalizers].reverse();
    finalizers.clear();
    let failure: { error: unknown } | undefined;
    for (const finalizer of pending) {
      try {
        await finalizer();
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  };

  const stop = (name: StopSignal) => {
    const interruption = new Interruption(name);
    if (!controller.signal.aborted) {
      onInterrupt?.(interruption);
      controller.abort(interruption);
      return;
    }
    const leave = () => exit(interruption.exit);
    setTimeout(leave, forcedExitMilliseconds).unref();
    runFinalizers().then(leave, leave);
  };

  const listeners = (Object.keys(exitBySignal) as StopSignal[]).map((name) => [name, () => stop(name)] as const);
  for (const [name, listener] of listeners) source.on(name, listener);
  // A listener for signals does not keep a process alive: one that only waits to be stopped would end at once, and silently.
  const alive = setInterval(() => {}, 2 ** 30);

  return {
    signal: controller.signal,
    onFinish(finalizer) {
      finalizers.add(finalizer);
      return () => void finalizers.delete(finalizer);
    },
    async finish() {
      try {
        await runFinalizers();
      } finally {
        clearInterval(alive);
        for (const [name, listener] of listeners) source.off(name, listener);
      }
    },
  };
}
