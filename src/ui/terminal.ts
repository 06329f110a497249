/** What a stream can show. NO_COLOR and TERM=dumb are honoured (no-color.org). */

interface Stream {
  readonly isTTY?: boolean;
}

/** A terminal on which the cursor can be moved. */
export function isCapable(stream: Stream, environment: NodeJS.ProcessEnv = process.env): boolean {
  return stream.isTTY === true && environment["TERM"] !== "dumb";
}

/** A capable terminal whose user has not said no to colours. */
export function wantsColour(stream: Stream, environment: NodeJS.ProcessEnv = process.env): boolean {
  return isCapable(stream, environment) && !environment["NO_COLOR"];
}
