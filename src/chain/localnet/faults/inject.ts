/** Tells a localnet in another process to have a fault. */

import { ConnitoError } from "../../../errors.ts";
import { createLink } from "../../link.ts";
import type { Fault } from "./fault.ts";

/** Throws `chain-unreachable`, `faults-not-served` (the node was not started for it, or is none of ours), `fault-impossible`. */
export async function injectFault(endpoints: readonly string[], fault: Fault): Promise<void> {
  const link = createLink({ endpoints, patience: 5000 });
  try {
    await link.callOnce("connito_injectFault", [fault]);
  } catch (cause) {
    const { code, message } = cause as { code?: unknown; message: string };
    if (typeof code !== "number") {
      throw cause;
    }
    const served = code !== -32_601;
    throw new ConnitoError(served ? message.replace(/^-?\d+: /, "") : "this node does not take faults", {
      code: served ? "fault-impossible" : "faults-not-served",
      exit: "rejected",
      hint: served ? "Fork less deep, raise --finality-lag, or stall finality first." : "Start the localnet with --faults.",
      cause,
    });
  } finally {
    link.close();
  }
}
