/** Extrinsics: Subtensor's signed extensions in order, with what each sends and what is signed besides, and the extrinsic's own type. */

import {
  byteArray,
  bytes,
  compact,
  newtype,
  option,
  type Parameter,
  runtimeCall,
  type Scale,
  type Shape,
  u32,
  u64,
  unit,
  variants,
} from "./scale.ts";
import { era, hash, multiAddress, multiSignature } from "./types.ts";

export interface SignedExtension {
  readonly identifier: string;
  /** Sent with the extrinsic. */
  readonly extra: Shape;
  /** Signed with it, known to both sides. */
  readonly additional: Shape;
}

interface Content {
  readonly holds?: Scale<unknown>;
  /** The field's name, where it has one. */
  readonly name?: string;
  readonly signs?: Scale<unknown>;
}

function extension(path: string, { holds, name, signs = unit }: Content = {}): SignedExtension {
  const fields = holds === undefined ? [] : [{ ...(name === undefined ? {} : { name }), type: holds.shape }];
  return { identifier: path.slice(path.lastIndexOf("::") + 2), extra: { kind: "composite", path, fields }, additional: signs.shape };
}

const metadataHashMode = variants("frame_metadata_hash_extension::Mode", { Disabled: undefined, Enabled: undefined });

export const signedExtensions: readonly SignedExtension[] = [
  extension("frame_system::extensions::check_non_zero_sender::CheckNonZeroSender"),
  extension("frame_system::extensions::check_spec_version::CheckSpecVersion", { signs: u32 }),
  extension("frame_system::extensions::check_tx_version::CheckTxVersion", { signs: u32 }),
  extension("frame_system::extensions::check_genesis::CheckGenesis", { signs: hash }),
  extension("node_subtensor_runtime::check_mortality::CheckMortality", { holds: era, signs: hash }),
  extension("node_subtensor_runtime::check_nonce::CheckNonce", { holds: compact(u32) }),
  extension("frame_system::extensions::check_weight::CheckWeight"),
  extension("pallet_transaction_payment::ChargeTransactionPayment", { holds: compact(u64) }),
  extension("node_subtensor_runtime::sudo_wrapper::SudoTransactionExtension"),
  extension("pallet_shield::extension::CheckShieldedTxValidity"),
  extension("pallet_subtensor::extensions::subtensor::SubtensorTransactionExtension"),
  extension("pallet_drand::drand_priority::DrandPriority"),
  extension("frame_metadata_hash_extension::CheckMetadataHash", { holds: metadataHashMode, name: "mode", signs: option(byteArray(32)) }),
];

const extrinsicParameters: readonly Parameter[] = [
  { name: "Address", type: multiAddress.shape },
  { name: "Call", type: runtimeCall.shape },
  { name: "Signature", type: multiSignature.shape },
  { name: "Extra", type: { kind: "tuple", of: signedExtensions.map(({ extra }) => extra) } },
];

/** An extrinsic as the metadata knows it, which is bytes; polkadot.js looks for the four parameters. */
export const uncheckedExtrinsic = newtype(
  "fp_self_contained::unchecked_extrinsic::UncheckedExtrinsic",
  newtype("sp_runtime::generic::unchecked_extrinsic::UncheckedExtrinsic", bytes, extrinsicParameters),
  extrinsicParameters,
);
