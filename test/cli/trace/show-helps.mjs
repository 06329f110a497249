/** Shows the help of every command, as `connito COMMAND --help` does, in one process. */
import { fileURLToPath } from "node:url";
import { Config } from "@oclif/core";
import { run } from "@oclif/core/run";

const config = await Config.load({ root: fileURLToPath(new URL("../../..", import.meta.url)) });
for (const { id, pluginName } of config.commands) if (pluginName === "connito") await run([...id.split(":"), "--help"], config);
