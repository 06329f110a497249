/** Writing to stdout and stderr so that nothing is lost when the process ends right after, and a closed pipe is no fault. */

/** Resolves when the text has been handed to the operating system, or when nobody reads any more (`connito … | head`). */
export function writeAll(stream: NodeJS.WritableStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => {
      if (error === undefined || error === null || (error as NodeJS.ErrnoException).code === "EPIPE") resolve();
      else reject(error);
    });
  });
}
