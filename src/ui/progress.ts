/**
 * How far something long has come, on stderr. A terminal gets a spinner with a bar; elsewhere each step is a line, plain or JSON,
 * thinned out so that a log stays readable. Steps talk to the interface and never know which it is.
 */

import { formatBytes, formatDuration } from "./format.ts";
import { isCapable } from "./terminal.ts";

export interface Progress {
  /**
   * Begins an activity; one that is still open is ended without a word. `total` in whatever unit `done` counts; bytes are shown as such, with how fast
   * they go and how long the rest will take.
   */
  start(label: string, total?: number, unit?: "bytes"): void;
  /** How much is done. `detail` is short text such as "loss 3.21". */
  update(done: number, detail?: string): void;
  /** Ends the activity well; `label` replaces what it was started with. */
  succeed(label?: string): void;
  /** Ends the activity badly. The error itself is reported by whoever catches it. */
  fail(label?: string): void;
  /** One line of news beside the activity. `fields` go into the JSON form. */
  note(text: string, fields?: Readonly<Record<string, unknown>>): void;
}

export const progressKinds = ["terminal", "json", "plain", "none"] as const;

export type ProgressKind = (typeof progressKinds)[number];

export interface ProgressOptions {
  readonly kind: ProgressKind;
  /** Where lines go. */
  readonly stream?: NodeJS.WritableStream & { readonly columns?: number };
  /** Milliseconds, for thinning out and for durations. */
  readonly now?: () => number;
}

/** Lines of updates are at least this far apart; the first and the last one always appear. */
const updateMilliseconds = { json: 1_000, plain: 5_000 } as const;

/** A terminal gets `terminal`; elsewhere `json` where a program reads along, else `plain`. */
export function chooseProgress(stream: { readonly isTTY?: boolean; readonly columns?: number }, elsewhere: "json" | "plain"): ProgressKind {
  return isCapable(stream) ? "terminal" : elsewhere;
}

export const silentProgress: Progress = { start() {}, update() {}, succeed() {}, fail() {}, note() {} };

export function createProgress({ kind, stream = process.stderr, now = Date.now }: ProgressOptions): Progress {
  if (kind === "none") return silentProgress;
  if (kind === "terminal") return terminalProgress(stream, now);
  return lineProgress(kind === "json" ? jsonLines(stream) : plainLines(stream), updateMilliseconds[kind], now);
}

type ProgressEvent = "start" | "update" | "succeed" | "fail" | "note";

interface Line {
  readonly event: ProgressEvent;
  readonly label: string;
  readonly done?: number;
  readonly total?: number | undefined;
  readonly unit?: "bytes" | undefined;
  readonly detail?: string | undefined;
  readonly milliseconds?: number;
  readonly fields?: Readonly<Record<string, unknown>> | undefined;
}

type WriteLine = (line: Line) => void;

function jsonLines(stream: NodeJS.WritableStream): WriteLine {
  return ({ event, fields, ...rest }) => {
    stream.write(
      `${JSON.stringify({ event, ...rest, ...fields }, (_key, value) => (typeof value === "bigint" ? value.toString() : value))}\n`,
    );
  };
}

function plainLines(stream: NodeJS.WritableStream): WriteLine {
  const endings: Readonly<Record<ProgressEvent, string>> = { start: " ...", update: "", succeed: ": done", fail: ": failed", note: "" };
  return (line) => {
    const { event, label, milliseconds } = line;
    const time = event === "succeed" && milliseconds !== undefined ? ` in ${formatDuration(milliseconds)}` : "";
    stream.write(`${label}${event === "update" ? `: ${amount(line)}` : endings[event]}${time}\n`);
  };
}

/** "12/40 (30%) loss 3.21", as much of it as is known. */
function amount({ done = 0, total, unit, detail }: Pick<Line, "done" | "total" | "unit" | "detail">): string {
  const show = unit === "bytes" ? formatBytes : String;
  const count =
    total === undefined ? show(done) : `${show(done)}/${show(total)}${total > 0 ? ` (${Math.floor((100 * done) / total)}%)` : ""}`;
  return detail === undefined ? count : `${count} ${detail}`;
}

interface Activity {
  readonly label: string;
  readonly total: number | undefined;
  readonly unit: "bytes" | undefined;
  readonly started: number;
  /** The first update: what was done by then may have been done by an earlier run. */
  first?: { readonly done: number; readonly at: number };
}

/** Before so many milliseconds nobody can say how fast it goes. */
const settledMilliseconds = 1000;

/** "1.20 GiB/s, 4 min 05 s left", of bytes. */
function paceOf(activity: Activity, done: number, at: number): string | undefined {
  if (activity.unit === undefined) return undefined;
  activity.first ??= { done, at };
  const { first, total } = activity;
  if (at - first.at < settledMilliseconds || done <= first.done) return undefined;
  const rate = (done - first.done) / (at - first.at);
  return `${formatBytes(1000 * rate)}/s${total === undefined ? "" : `, ${formatDuration((total - done) / rate)} left`}`;
}

function lineProgress(write: WriteLine, every: number, now: () => number): Progress {
  let activity: Activity | undefined;
  let lastUpdate = Number.NEGATIVE_INFINITY;
  const end = (event: "succeed" | "fail", label?: string) => {
    if (activity === undefined && label === undefined) return;
    write({ event, label: label ?? activity?.label ?? "", ...(activity === undefined ? {} : { milliseconds: now() - activity.started }) });
    activity = undefined;
  };
  return {
    start(label, total, unit) {
      activity = { label, total, unit, started: now() };
      lastUpdate = Number.NEGATIVE_INFINITY;
      write({ event: "start", label, total, unit });
    },
    update(done, detail) {
      if (activity === undefined) return;
      const { label, total, unit } = activity;
      const pace = paceOf(activity, done, now());
      const last = total !== undefined && done >= total;
      if (!last && now() - lastUpdate < every) return;
      lastUpdate = now();
      write({ event: "update", label, done, total, unit, detail: detail ?? pace });
    },
    succeed: (label) => end("succeed", label),
    fail: (label) => end("fail", label),
    note: (text, fields) => write({ event: "note", label: text, fields }),
  };
}

const barWidth = 24;

/** "████████░░░░░░░░" for 0.5; a share outside 0..1 is clamped. */
export function bar(share: number, width = barWidth): string {
  const filled = Math.round(Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0)) * width);
  return "█".repeat(filled) + "░".repeat(width - filled);
}

/** What stands beside the spinner. */
export function activityText({ label, total, unit, done = 0, detail }: Omit<Line, "event">): string {
  if (total === undefined)
    return [label, ...(done > 0 ? [amount({ done, unit })] : []), ...(detail === undefined ? [] : [detail])].join(" ");
  return `${label} ${bar(total > 0 ? done / total : 1)} ${amount({ done, total, unit, detail })}`;
}

type Spinner = import("ora").Ora;

/** ora is loaded when the first activity begins; what happens before it is there is shown once it is. */
function terminalProgress(stream: NodeJS.WritableStream, now: () => number): Progress {
  let activity: (Activity & { text: string }) | undefined;
  let spinner: Spinner | undefined;
  let loading = false;

  const show = () => {
    if (activity === undefined) return;
    if (spinner !== undefined) {
      spinner.text = activity.text;
      if (!spinner.isSpinning) spinner.start();
      return;
    }
    if (loading) return;
    loading = true;
    void import("ora").then(({ default: ora }) => {
      // The spinner must not swallow Ctrl-C, nor keep the process alive by holding stdin.
      spinner = ora({ stream, discardStdin: false });
      show();
    });
  };

  const end = (mark: string, label?: string) => {
    if (activity === undefined && label === undefined) return;
    const time = activity === undefined ? "" : ` (${formatDuration(now() - activity.started)})`;
    const text = `${mark} ${label ?? activity?.label ?? ""}${time}`;
    activity = undefined;
    spinner?.stop();
    stream.write(`${text}\n`);
  };

  return {
    start(label, total, unit) {
      spinner?.stop();
      activity = { label, total, unit, started: now(), text: activityText({ label, total, unit }) };
      show();
    },
    update(done, detail) {
      if (activity === undefined) return;
      const { label, total, unit } = activity;
      activity.text = activityText({ label, total, unit, done, detail: detail ?? paceOf(activity, done, now()) });
      show();
    },
    succeed: (label) => end("✔", label),
    fail: (label) => end("✖", label),
    note(text) {
      spinner?.stop();
      stream.write(`${text}\n`);
      show();
    },
  };
}
