/** The runtime APIs: questions computed on the state at a block. The general ones here, Subtensor's own in its folder. */

import { uncheckedExtrinsic } from "../metadata/extensions.ts";
import { method, type RuntimeApis } from "../metadata/pallet.ts";
import { bytes, type Hex, newtype, option, struct, u32, u64, vec } from "../metadata/scale.ts";
import { accountId, dispatchClass, runtimeVersion, weight } from "../metadata/types.ts";
import { neuronApi } from "./subtensor/neuron-api.ts";
import { stakeApi } from "./subtensor/stake-api.ts";
import { subnetApi } from "./subtensor/subnet-api.ts";
import { systemStorage } from "./system.ts";
import { apiVersions, version } from "./version.ts";

/** What the runtime as a whole knows, and no pallet. */
export interface ApiHost {
  readonly metadataVersions: () => readonly number[];
  /** The one for who does not name a version. */
  readonly legacyMetadata: () => Hex;
  metadata(version: number): Hex | undefined;
  /** @param extrinsic without its length prefix */
  fee(extrinsic: Hex): { readonly operational: boolean; readonly fee: bigint; readonly tip: bigint };
}

const opaqueMetadata = newtype("sp_core::OpaqueMetadata", bytes);

const dispatchInfo = struct("pallet_transaction_payment::types::RuntimeDispatchInfo", { weight, class: dispatchClass, partialFee: u64 });
const inclusionFee = struct("pallet_transaction_payment::types::InclusionFee", { baseFee: u64, lenFee: u64, adjustedWeightFee: u64 });
const feeDetails = struct("pallet_transaction_payment::types::FeeDetails", { inclusionFee: option(inclusionFee), tip: u64 });

export function createRuntimeApis(host: ApiHost): RuntimeApis {
  return {
    Core: {
      version: apiVersions.Core,
      methods: { version: method({}, runtimeVersion, () => version) },
    },
    Metadata: {
      version: apiVersions.Metadata,
      methods: {
        metadata: method({}, opaqueMetadata, () => host.legacyMetadata()),
        metadata_at_version: method({ version: u32 }, option(opaqueMetadata), (_, args) => host.metadata(args.version)),
        metadata_versions: method({}, vec(u32), () => host.metadataVersions()),
      },
    },
    AccountNonceApi: {
      version: apiVersions.AccountNonceApi,
      methods: {
        account_nonce: method({ account: accountId }, u32, (ledger, { account }) => ledger.get(systemStorage.Account, account).nonce),
      },
    },
    TransactionPaymentApi: {
      version: apiVersions.TransactionPaymentApi,
      methods: {
        query_info: method({ uxt: uncheckedExtrinsic, len: u32 }, dispatchInfo, (_, { uxt }) => {
          const { operational, fee } = host.fee(uxt);
          return { weight: { refTime: 0n, proofSize: 0n }, class: { type: operational ? "Operational" : "Normal" }, partialFee: fee };
        }),
        query_fee_details: method({ uxt: uncheckedExtrinsic, len: u32 }, feeDetails, (_, { uxt }) => {
          const { fee, tip } = host.fee(uxt);
          return { inclusionFee: fee === 0n ? undefined : { baseFee: fee, lenFee: 0n, adjustedWeightFee: 0n }, tip };
        }),
      },
    },
    NeuronInfoRuntimeApi: { version: apiVersions.NeuronInfoRuntimeApi, methods: neuronApi },
    SubnetInfoRuntimeApi: { version: apiVersions.SubnetInfoRuntimeApi, methods: subnetApi },
    StakeInfoRuntimeApi: { version: apiVersions.StakeInfoRuntimeApi, methods: stakeApi },
  };
}
