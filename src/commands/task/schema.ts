import * as v from "valibot";
import { BaseCommand } from "../../cli/base-command.ts";
import { taskJsonSchema } from "../../protocol/task.ts";

export default class TaskSchema extends BaseCommand<typeof TaskSchema> {
  static override readonly summary = "Print the JSON Schema of a task: every field, what it accepts, and its default.";
  static override readonly examples = ["<%= config.bin %> <%= command.id %> > task.schema.json"];

  static override resultSchema() {
    return v.looseObject({ title: v.string() });
  }

  protected async perform(): Promise<object> {
    return taskJsonSchema();
  }

  protected render(schema: object): string {
    return JSON.stringify(schema, undefined, 2);
  }
}
