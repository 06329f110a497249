import assert from "node:assert/strict";
import { failureDocument, failureText, toFailure } from "../../src/cli/failure.ts";
import { Interruption } from "../../src/cli/signals.ts";
import { ConnitoError, exitCodes } from "../../src/errors.ts";

const typed = new ConnitoError("It is late.", { code: "deadline-missed", exit: "deadlineMissed", hint: "Wait for the next cycle." });

/** As oclif's parser throws: a message with a pointer to the help, and the exit code in a field of its own. */
const refused = (message: string, exit = 2) => Object.assign(new Error(message), { oclif: { exit } });

describe("failure", () => {
  it("is what a ConnitoError says", () => {
    assert.deepEqual(toFailure(typed, "connito train"), {
      code: "deadline-missed",
      message: "It is late.",
      hint: "Wait for the next cycle.",
      retryable: false,
      exit: 21,
    });
  });

  it("of oclif's parser is a usage error that names the command's help, without oclif's own pointer", () => {
    const failure = toFailure(refused("Nonexistent flag: --frob\nSee more help with --help"), "connito task create");
    assert.deepEqual(failure, {
      code: "usage",
      message: "Unknown flag: --frob",
      hint: "See `connito task create --help`.",
      retryable: false,
      exit: exitCodes.usage,
    });
  });

  it("of a flag's own check is a usage error, and keeps a code where it has one", () => {
    const prefix = "Parsing --network \n\t";
    const plain = toFailure(new Error(`${prefix}not a network\nSee more help with --help`), "connito status");
    assert.deepEqual([plain.code, plain.exit, plain.message], ["usage", 2, "--network: not a network"]);
    const own = new ConnitoError(`${prefix}not a network\nSee more help with --help`, {
      code: "network-unknown",
      exit: "usage",
      hint: "Try finney.",
    });
    assert.deepEqual(
      [toFailure(own, "").code, toFailure(own, "").message, toFailure(own, "").hint],
      ["network-unknown", "--network: not a network", "Try finney."],
    );
  });

  it("keeps an exit code that a plugin chose", () => {
    assert.equal(toFailure(refused("no", 42), "connito").exit, 42);
  });

  it("of a signal has the signal's exit code and can be retried", () => {
    const { code, exit, retryable } = toFailure(new Interruption("SIGTERM"), "connito train");
    assert.deepEqual([code, exit, retryable], ["interrupted", 143, true]);
  });

  it("of a disk is told apart from a fault, and only a full one can be retried unchanged", () => {
    const of = (code: string) => toFailure(Object.assign(new Error(`${code}: write`), { code }), "connito train");
    assert.deepEqual([of("ENOSPC").code, of("ENOSPC").exit, of("ENOSPC").retryable], ["disk-full", exitCodes.storage, true]);
    assert.deepEqual([of("EACCES").code, of("EACCES").exit, of("EACCES").retryable], ["permission-denied", exitCodes.storage, false]);
    assert.deepEqual([of("EWHATEVER").code, of("EWHATEVER").exit], ["unexpected", exitCodes.unexpected]);
  });

  it("of something that is no error at all still has a message", () => {
    for (const thrown of ["text", undefined, null, 7]) assert.equal(toFailure(thrown, "connito").message, String(thrown));
  });

  it("is printed without the exit code, and for people with the hint on a line of its own", () => {
    const failure = toFailure(typed, "connito train");
    assert.deepEqual(failureDocument(failure), {
      error: { code: "deadline-missed", message: "It is late.", hint: "Wait for the next cycle.", retryable: false },
    });
    assert.equal(failureText(failure, typed, false), "Error: It is late. (deadline-missed)\nWait for the next cycle.\n");
  });

  it("shows the stacks of its causes where debugging asks for it", () => {
    const error = new Error("outer", { cause: new TypeError("inner") });
    assert.match(failureText(toFailure(error, "connito"), error, true), /Error: outer\n {4}at [\s\S]*Caused by: TypeError: inner\n {4}at /);
  });
});
