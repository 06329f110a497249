/** SubtensorModule, the subset that this project's roles need; subnets come from the genesis, there is no root subnet. */

import type { PalletDefinition } from "../../metadata/pallet.ts";
import { u16, u64 } from "../../metadata/scale.ts";
import { axonCalls } from "./axon.ts";
import { subtensorErrors, subtensorEvents } from "./outcomes.ts";
import { registrationCalls } from "./registration.ts";
import { stakeCalls } from "./stake.ts";
import { subtensorStorage } from "./storage.ts";
import { timelockedCalls } from "./timelocked.ts";
import { weightCalls } from "./weights.ts";

export const subtensor: PalletDefinition = {
  name: "SubtensorModule",
  index: 7,
  storage: subtensorStorage,
  calls: { ...weightCalls, ...timelockedCalls, ...stakeCalls, ...axonCalls, ...registrationCalls },
  events: subtensorEvents,
  errors: subtensorErrors,
  constants: {
    InitialTempo: { type: u16, value: 360 },
    InitialMinAllowedWeights: { type: u16, value: 1024 },
    InitialServingRateLimit: { type: u64, value: 50n },
  },
};
