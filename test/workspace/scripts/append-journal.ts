/** Appends intents to the journal argv[2] without end, printing the number of each once it is confirmed. */
import { writeSync } from "node:fs";
import { openJournal } from "../../../src/workspace/journal.ts";

const journal = await openJournal(process.argv[2] as string, { create: true });
for (let number = journal.entries().length; ; number++) {
  await journal.intent(`step:${number}`, { filler: "x".repeat(number % 500) });
  writeSync(1, `${number}\n`);
}
