/**
 * Parquet columns as documents, through hyparquet: a row group at a time, and of it only the columns that the template names. Rows
 * whose fields are all null are passed over. Every compression that Parquet knows is read.
 */
import { open } from "node:fs/promises";
import { ConnitoError } from "../../errors.ts";
import { sourceMalformed } from "./errors.ts";
import { fieldsOf, fillTemplate } from "./source.ts";

/** The columns of one row group are held in memory; writers make groups of 64 MiB to 512 MiB. */
const largestGroup = 2 ** 30;

/** The texts of a file's rows, a row group at once. Errors: data-malformed with the rows. */
export async function* parquetRows(location: string, file: string, template: string): AsyncGenerator<string[]> {
  const [{ parquetMetadataAsync, parquetReadObjects }, { compressors }] = await Promise.all([
    import("hyparquet"),
    import("hyparquet-compressors"),
  ]);
  const columns = [...new Set(fieldsOf(template))];
  const handle = await open(file, "r");
  try {
    const { size } = await handle.stat();
    const buffer = {
      byteLength: size,
      slice: async (start: number, end = size) => {
        const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start));
        for (let at = 0; at < bytes.length; ) {
          const { bytesRead } = await handle.read(bytes, at, bytes.length - at, start + at);
          if (bytesRead === 0) throw new Error("the file ends early");
          at += bytesRead;
        }
        return bytes.buffer;
      },
    };
    const metadata = await understood(location, "its end", () => parquetMetadataAsync(buffer));
    const known = metadata.schema.slice(1).map(({ name }) => name);
    for (const column of columns) {
      const element = metadata.schema.find(({ name }, index) => index > 0 && name === column);
      if (element === undefined)
        throw sourceMalformed(location, "its schema", `no column ${column}; it has ${known.slice(0, 10).join(", ")}`);
      if (element.type !== "BYTE_ARRAY" || element.repetition_type === "REPEATED")
        throw sourceMalformed(location, "its schema", `column ${column} holds no strings`);
    }
    let first = 0;
    for (const group of metadata.row_groups) {
      const rowEnd = first + Number(group.num_rows);
      const place = `rows ${first} to ${rowEnd - 1}`;
      const bytes = group.columns.reduce(
        (sum, { meta_data }) =>
          sum + (columns.includes(meta_data?.path_in_schema[0] ?? "") ? Number(meta_data?.total_uncompressed_size ?? 0) : 0),
        0,
      );
      if (bytes > largestGroup)
        throw sourceMalformed(location, place, `a row group of ${bytes} bytes, more than ${largestGroup}; write it with smaller ones`);
      const decoder = new TextDecoder("utf-8", { fatal: true });
      const parsers = { stringFromBytes: (value: Uint8Array) => (value === undefined ? value : decoder.decode(value)) };
      const rowStart = first;
      const rows = await understood(location, place, () =>
        parquetReadObjects({ file: buffer, metadata, columns, rowStart, rowEnd, compressors, parsers }),
      );
      if (rows.length !== rowEnd - first) throw sourceMalformed(location, place, `${rows.length} rows instead of ${rowEnd - first}`);
      const found: string[] = [];
      for (const [index, row] of rows.entries()) {
        const values = row as Record<string, unknown>;
        if (columns.every((column) => (values[column] ?? null) === null)) continue;
        found.push(
          fillTemplate(template, (field) => {
            const value = values[field] ?? "";
            if (typeof value !== "string") throw sourceMalformed(location, `row ${rowStart + index}`, `its ${field} is no string`);
            return value;
          }),
        );
      }
      yield found;
      first = rowEnd;
    }
  } finally {
    await handle.close();
  }
}

/** What the library throws is about the bytes it was given. */
async function understood<T>(location: string, place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof ConnitoError) throw cause;
    throw sourceMalformed(location, place, cause instanceof Error ? cause.message : "not Parquet", cause);
  }
}
