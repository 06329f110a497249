/** Takes the lock of argv[2], says so, and stays until it is killed; or prints the code of the refusal. */
import { ConnitoError } from "../../../src/errors.ts";
import { acquireLock } from "../../../src/workspace/lock.ts";

try {
  await acquireLock(process.argv[2] as string);
  console.log("held");
  setInterval(() => undefined, 1000);
} catch (error) {
  console.log(error instanceof ConnitoError ? `${error.code} ${error.message}` : error);
}
