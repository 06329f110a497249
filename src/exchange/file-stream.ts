/** A byte range of a file as a stream for an answer: read as fast as the other side takes it, in one buffer's worth at a time. */
import { type FileHandle, open } from "node:fs/promises";

const partBytes = 1 << 18;
const graceSeconds = 30;

export interface FileRange {
  readonly offset: number;
  readonly bytes: number;
  /** Who takes less than this is cut off. */
  readonly bytesPerSecond: number;
}

/** Opens the range. Throws where the file is shorter: an answer that cannot be completed is not begun. */
export async function openFileStream(file: string, range: FileRange): Promise<ReadableStream<Uint8Array>> {
  const handle = await open(file, "r");
  try {
    const { size } = await handle.stat();
    if (size < range.offset + range.bytes) throw new Error(`${file} is shorter than what was published of it`);
  } catch (error) {
    await handle.close();
    throw error;
  }
  return streamOf(handle, range);
}

function streamOf(handle: FileHandle, { offset, bytes, bytesPerSecond }: FileRange): ReadableStream<Uint8Array> {
  const began = performance.now();
  let sent = 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          if ((performance.now() - began) / 1000 > graceSeconds + sent / bytesPerSecond) throw new Error("the other side is too slow");
          const part = new Uint8Array(Math.min(partBytes, bytes - sent));
          const { bytesRead } = part.length === 0 ? { bytesRead: 0 } : await handle.read(part, 0, part.length, offset + sent);
          if (bytesRead === 0 && sent < bytes) throw new Error("the file was cut while it was sent");
          sent += bytesRead;
          if (bytesRead > 0) controller.enqueue(part.subarray(0, bytesRead));
          if (sent < bytes) return;
          await handle.close();
          controller.close();
        } catch (error) {
          await handle.close().catch(() => undefined);
          controller.error(error);
        }
      },
      async cancel() {
        await handle.close().catch(() => undefined);
      },
    },
    { highWaterMark: 0 },
  );
}
