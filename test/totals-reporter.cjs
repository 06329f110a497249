/** Mocha's usual report, and its totals as JSON in the file that the reporter option `totals` names, for .ci/run. */

const { writeFileSync } = require("node:fs");
const { reporters, Runner } = require("mocha");

module.exports = class TotalsReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const { passes: passed, failures: failed, pending } = this.stats;
      const file = options.reporterOptions?.totals;
      if (file !== undefined) writeFileSync(file, JSON.stringify({ passed, failed, pending }));
    });
  }
};
