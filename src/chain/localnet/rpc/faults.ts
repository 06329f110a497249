/** connito_*: faults on command. Only served where the localnet was started for it. */

import * as v from "valibot";
import { ConnitoError } from "../../../errors.ts";
import { type CheckedFault, faultSchema } from "../faults/fault.ts";
import { RpcError } from "../pool.ts";
import type { Methods } from "./connection.ts";
import { refuse } from "./parameters.ts";

const faultImpossible = -32_000;

/** Methods of this prefix are answered whatever fault is in force. */
export const controlPrefix = "connito_";

export function faultMethods(inject: (fault: CheckedFault) => void): Methods {
  return {
    [`${controlPrefix}injectFault`]: ([value]) => {
      const fault = v.safeParse(faultSchema, value);
      if (!fault.success) {
        return refuse(v.summarize(fault.issues));
      }
      try {
        inject(fault.output);
      } catch (error) {
        if (error instanceof ConnitoError) {
          throw new RpcError(faultImpossible, error.message);
        }
        throw error;
      }
      return true;
    },
  };
}
