/** What a stream can show. NO_COLOR and TERM=dumb are honoured (no-color.org). */

interface Stream {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/**
 * A terminal on which the cursor can be moved. One without a width is none: pseudo-terminals that nobody sized (`script`, containers) say 0
 * columns, on which every text has infinitely many lines to be cleared.
 */
export function isCapable(stream: Stream, environment: NodeJS.ProcessEnv = process.env): boolean {
  return stream.isTTY === true && stream.columns !== 0 && environment["TERM"] !== "dumb";
}

/** A capable terminal whose user has not said no to colours. */
export function wantsColour(stream: Stream, environment: NodeJS.ProcessEnv = process.env): boolean {
  return isCapable(stream, environment) && !environment["NO_COLOR"];
}
