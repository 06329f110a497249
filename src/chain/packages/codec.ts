/**
 * What the client takes from polkadot-api: SCALE codecs made from a chain's metadata. The build bundles this file with all that it stands on into
 * one module, because so many small ones take longer to find than to run (docs/performance.md).
 */
export { getDynamicBuilder, getLookupFn } from "@polkadot-api/metadata-builders";
export { Blake2256, Bytes, decAnyMetadata, Option, Tuple, u16, u32, u64, unifyMetadata, Vector } from "@polkadot-api/substrate-bindings";
