import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { readInput } from "../../cli/input.ts";
import { openParticipant, participantFlags } from "../../cli/participant.ts";
import type { Prompts } from "../../cli/prompts.ts";
import { ConnitoError } from "../../errors.ts";
import { openCheckpoint } from "../../model/checkpoint.ts";
import { expertLayout } from "../../model/slice.ts";
import { parseExpertScores } from "../../protocol/experts/esft.ts";
import { possibleGroups } from "../../protocol/experts/expert-manager.ts";
import type { TaskOverrides } from "../../protocol/task.ts";
import { type CreateTaskResult, createTask, type DomainFiles } from "../../steps/distribute/create-task.ts";
import { fields } from "../../ui/table.ts";

const maximumJsonBytes = 64 * 2 ** 20;

export default class TaskCreate extends BaseCommand<typeof TaskCreate, CreateTaskResult> {
  static override readonly summary = "Make a task from a checkpoint and texts, and publish its hash on the chain.";
  static override readonly description =
    "Hashes the checkpoint, makes the stand-ins, measures the experts on the domains, and stores everything that the task names. --from gives any field of the task (see `task schema`); flags win over it. On a terminal, what is missing is asked for.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --name speeches --model ./base --groups 2 --domain sotu=train.txt,held-out.txt --publish http://198.51.100.7:8100",
    "<%= config.bin %> <%= command.id %> --netuid 1 --from task.json --model ./base --domain novel=train.txt,held-out.txt --dry-run --json",
  ];
  static override readonly flags = {
    ...participantFlags,
    name: Flags.string({ helpValue: "NAME", summary: "The task's name." }),
    model: Flags.string({ helpValue: "DIRECTORY", summary: "The base checkpoint in the Hugging Face layout." }),
    groups: Flags.integer({ helpValue: "NUMBER", summary: "Expert groups; must divide the number of experts.", min: 1 }),
    domain: Flags.string({
      helpValue: "NAME=TRAIN,HELD-OUT",
      summary: "A domain: a UTF-8 text to train on and one that only validators get. May be given several times.",
      multiple: true,
    }),
    from: Flags.string({ helpValue: "FILE|-", summary: "A JSON document with any fields of the task; - reads stdin." }),
    scores: Flags.string({ helpValue: "FILE", summary: "Expert scores that `esft select --save` wrote, instead of measuring now." }),
    "sample-tokens": Flags.integer({ helpValue: "NUMBER", summary: "Tokens to measure the experts on.", min: 1024 }),
    "start-block": Flags.integer({ helpValue: "NUMBER", summary: "First block of cycle 0; by default --lead blocks from now.", min: 0 }),
    lead: Flags.integer({
      helpValue: "BLOCKS",
      summary: "Blocks between publishing and cycle 0, in which validators fetch the base.",
      default: 10,
      min: 1,
    }),
    "publish-held-out": Flags.string({
      helpValue: "DIRECTORY",
      summary: "Also put the held-out texts in a directory that only validators can read.",
    }),
    "dry-run": Flags.boolean({ summary: "Show the task; store and publish nothing." }),
  };

  static override resultSchema() {
    return v.object({ task: v.looseObject({ name: v.string() }), taskHash: v.string(), block: v.optional(v.number()) });
  }

  protected async perform(invocation: Invocation<typeof TaskCreate>): Promise<CreateTaskResult> {
    const { flags, prompts, signal } = invocation;
    const from = flags.from === undefined ? {} : await readOverrides(flags.from, signal);
    const overrides = withStartBlock(from, flags["start-block"]);
    const name = flags.name ?? overrides.name ?? (await prompts.text({ flag: "--name", message: "Name of the task" }));
    const directory = flags.model ?? (await prompts.text({ flag: "--model", message: "Directory of the base checkpoint" }));
    const checkpoint = await openCheckpoint(directory);
    const choices = possibleGroups(expertLayout(checkpoint.architecture)).map((count) => ({ value: String(count) }));
    const groups =
      flags.groups ?? overrides.experts?.groups ?? Number(await prompts.choice({ flag: "--groups", message: "Expert groups", choices }));
    const domains = await readDomains(flags.domain, prompts);
    const scores = flags.scores === undefined ? undefined : parseExpertScores(await readJson(flags.scores, signal));
    const context = await openParticipant(invocation);
    return createTask(context, {
      name,
      checkpoint,
      domains,
      groups,
      overrides,
      ...(scores === undefined ? {} : { scores }),
      ...(flags["sample-tokens"] === undefined ? {} : { sampleTokens: flags["sample-tokens"] }),
      leadBlocks: flags.lead,
      heldOutDirectory: flags["publish-held-out"],
      dryRun: flags["dry-run"],
    });
  }

  protected render({ task, taskHash, block }: CreateTaskResult): string {
    const { phases, startBlock } = task.cycle;
    return fields([
      ["task", task.name],
      ["hash", taskHash],
      ["model", task.model.root],
      ["groups", task.experts.groups],
      ["domains", task.data.domains.map((domain) => domain.name).join(", ")],
      [
        "phases",
        Object.entries(phases)
          .map(([phase, blocks]) => `${phase} ${blocks}`)
          .join(", "),
      ],
      ["starts at", `block ${startBlock}`],
      ["on the chain", block === undefined ? "no (dry run)" : `block ${block}`],
    ]);
  }
}

async function readJson(file: string, signal: AbortSignal): Promise<unknown> {
  const bytes = await readInput(file, { maximumBytes: maximumJsonBytes, signal });
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ConnitoError(`${file === "-" ? "stdin" : file} is not JSON.`, {
      code: "input-not-json",
      exit: "invalidInput",
      hint: "Check the file; `connito task schema` describes a task.",
      cause,
    });
  }
}

/** Fields of a task, to be checked as part of the whole. */
async function readOverrides(file: string, signal: AbortSignal): Promise<TaskOverrides> {
  const value = await readJson(file, signal);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new ConnitoError(`${file === "-" ? "stdin" : file} holds no JSON object.`, {
    code: "task-invalid",
    exit: "invalidInput",
    hint: "`connito task schema` describes a task.",
  });
}

function withStartBlock(overrides: TaskOverrides, startBlock: number | undefined): TaskOverrides {
  return startBlock === undefined ? overrides : { ...overrides, cycle: { ...overrides.cycle, startBlock } };
}

async function readDomains(given: readonly string[] | undefined, prompts: Prompts): Promise<DomainFiles[]> {
  if (given !== undefined) return given.map(parseDomain);
  const name = await prompts.text({ flag: "--domain", message: "Name of the domain" });
  const train = await prompts.text({ flag: "--domain", message: "Text to train on" });
  const heldOut = await prompts.text({ flag: "--domain", message: "Held-out text" });
  return [{ name, train, heldOut }];
}

function parseDomain(text: string): DomainFiles {
  const [, name, train, heldOut] = /^([^=,]+)=([^,]+),([^,]+)$/.exec(text) ?? [];
  if (name !== undefined && train !== undefined && heldOut !== undefined) return { name, train, heldOut };
  throw new ConnitoError(`--domain ${text} is not NAME=TRAIN,HELD-OUT.`, {
    code: "usage",
    exit: "usage",
    hint: "For example --domain novel=novel-train.txt,novel-held-out.txt.",
  });
}
