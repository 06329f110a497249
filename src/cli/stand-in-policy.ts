/** The flag that says how experts are copied for those who lack them. */
import { Flags } from "@oclif/core";
import { ConnitoError } from "../errors.ts";
import { defaultStandInBits, type StandInPolicy } from "../model/stand-in-policy.ts";

export const standInsFlag = Flags.string({
  helpValue: "by-use:BITS|q4-32",
  summary: `Stand-ins of BITS a value on average, which go where the domains' tokens use them, or of every expert in 4 bits. By default by-use:${defaultStandInBits} where the engine computes the model.`,
});

export function readStandInPolicy(text: string | undefined): StandInPolicy | undefined {
  if (text === undefined) return undefined;
  if (text === "q4-32") return { kind: "q4-32" };
  const [said, number] = /^by-use(?::([0-9]+(?:\.[0-9]+)?))?$/.exec(text) ?? [];
  const bits = Number(number ?? defaultStandInBits);
  if (said !== undefined && bits <= 16) return { kind: "by-use", bits };
  throw new ConnitoError(`--stand-ins ${text} is neither by-use, by-use:BITS nor q4-32.`, {
    code: "usage",
    exit: "usage",
    hint: "For example by-use:2 (an eighth of bf16), by-use:3 where memory allows, by-use:0 for none at all.",
  });
}
