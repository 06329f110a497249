import assert from "node:assert/strict";
import { ConnitoError } from "../../src/errors.ts";
import { fileError } from "../../src/files/errors.ts";
import { failure } from "../model/support.ts";

describe("files/errors", () => {
  it("types the system's errors and passes on what is none", () => {
    const system = (code: string) => fileError(Object.assign(new Error(code), { code }), "/some/file");
    assert.ok(failure("disk-full", { exit: 50, retryable: true })(system("ENOSPC")));
    assert.ok(failure("disk-full")(system("EDQUOT")));
    assert.ok(failure("permission-denied", { exit: 50 })(system("EACCES")));
    assert.ok(failure("disk-error")(system("EIO")));
    assert.equal(system("EMFILE") instanceof ConnitoError, false);
    const answered = fileError(Object.assign(new Error("EMFILE"), { code: "EMFILE", syscall: "open" }), "/some/file");
    assert.ok(failure("storage-failed", { exit: 50 })(answered));
    const bug = new TypeError("a bug");
    assert.equal(fileError(bug, "/some/file"), bug);
  });
});
