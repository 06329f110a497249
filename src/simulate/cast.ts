/**
 * A cast from short words: `honest:4@80` is four honest miners of 80 training steps a cycle, `lazy@300` a lazy validator with 300 TAO, `honest/2-4` a miner
 * that joins in cycle 2 and leaves after cycle 4.
 */
import { ConnitoError } from "../errors.ts";
import type { CastMember } from "./player.ts";
import { honest, minerAttacks } from "./strategies/miners.ts";
import type { Strategy } from "./strategies/strategy.ts";
import { honestValidator, validatorAttacks } from "./strategies/validators.ts";

export const minerStrategies: readonly Strategy[] = [honest, ...minerAttacks];
export const validatorStrategies: readonly Strategy[] = [{ ...honestValidator, name: "honest" }, ...validatorAttacks];

const defaultStake = 500;
const pattern = /^(?<name>[a-z-]+)(?::(?<count>\d{1,3}))?(?:@(?<size>\d{1,7}))?(?:\/(?<from>\d{1,4})(?:-(?<to>\d{1,4}))?)?$/;

/** The participants that these words ask for; strategies that look into others look into the first honest miners. Throws `usage`. */
export function castOf(miners: readonly string[], validators: readonly string[]): CastMember[] {
  const cast = [
    ...validators.flatMap((text) => membersOf(text, validatorStrategies, "validator")),
    ...miners.flatMap((text) => membersOf(text, minerStrategies, "miner")),
  ];
  const numbered = cast.map((member, index) => {
    const same = cast.filter(({ name }) => name === member.name);
    return same.length === 1 ? member : { ...member, name: `${member.name}-${same.indexOf(cast[index] as CastMember) + 1}` };
  });
  const names = new Map(cast.map((member, index) => [member, numbered[index]?.name ?? member.name]));
  const leaking = cast.filter(({ strategy }) => strategy.role === "miner" && strategy.honest).map((member) => names.get(member) as string);
  if (leaking.length === 0 && cast.some(({ strategy }) => typeof strategy.leaks === "number"))
    throw usage("there is no honest miner to look into");
  return numbered.map((member) => {
    const { leaks } = member.strategy;
    if (leaks === undefined) return member;
    if (leaks === "own kind")
      return { ...member, leaks: numbered.filter(({ strategy }) => strategy === member.strategy).map(({ name }) => name) };
    // A validator that lies for a miner lies for one that is not honest, where there is one.
    const accomplice = numbered.find(({ strategy }) => strategy.role === "miner" && !strategy.honest)?.name;
    return { ...member, leaks: member.strategy.role === "validator" && accomplice !== undefined ? [accomplice] : leaking.slice(0, leaks) };
  });
}

function membersOf(text: string, strategies: readonly Strategy[], role: Strategy["role"]): CastMember[] {
  const { name, count = "1", size, from, to } = pattern.exec(text)?.groups ?? {};
  if (name === undefined) throw usage(`${JSON.stringify(text)} names no ${role}`);
  const strategy = strategies.find((one) => one.name === name);
  if (strategy === undefined) throw usage(`${name} is no ${role}'s strategy. There are ${strategies.map((one) => one.name).join(", ")}`);
  if (Number(count) === 0) throw usage(`${text} is nobody`);
  if (size !== undefined && Number(size) === 0) throw usage(`${text} has no ${role === "validator" ? "stake" : "training steps"}`);
  if (from !== undefined && to !== undefined && Number(to) < Number(from)) throw usage(`${text} leaves before it comes`);
  const member: CastMember = {
    name: strategy.honest === true ? role : name,
    strategy,
    ...(role === "validator" ? { stake: Number(size ?? defaultStake) } : size === undefined ? {} : { trainingSteps: Number(size) }),
    ...(from === undefined ? {} : { from: Number(from) }),
    ...(to === undefined ? {} : { to: Number(to) }),
  };
  return Array.from({ length: Number(count) }, () => ({ ...member }));
}

function usage(message: string): ConnitoError {
  return new ConnitoError(message, {
    code: "usage",
    exit: "usage",
    hint: "Write STRATEGY[:COUNT][@TRAINING-STEPS or TAO][/FIRST-CYCLE[-LAST-CYCLE]], for example --miner honest:4 --miner noisy-copy.",
  });
}
