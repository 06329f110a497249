/** The codecs that are known. A new one is a file beside this and one entry in the list. */
import { ConnitoError } from "../../errors.ts";
import { blockInt8 } from "./block-int8.ts";
import type { Codec } from "./codec.ts";
import { denseBf16 } from "./dense-bf16.ts";
import { signs10 } from "./signs.ts";

export type { Codec, StoredPart } from "./codec.ts";

export const codecs: readonly Codec[] = [denseBf16, blockInt8, signs10];

/** The codec that a task names. Throws `unknown-codec`. */
export function codecNamed(name: string): Codec {
  const codec = codecs.find((one) => one.name === name);
  if (codec !== undefined) return codec;
  throw new ConnitoError(`unknown codec ${JSON.stringify(name.slice(0, 64))}`, {
    code: "unknown-codec",
    exit: "invalidInput",
    hint: `Known codecs: ${codecs.map((one) => one.name).join(", ")}. A newer version may know more.`,
  });
}
