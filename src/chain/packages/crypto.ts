/**
 * What the client takes from others for keys: sr25519 and phrases from schnorrkel compiled to WebAssembly, and the box in which key files are
 * encrypted. Bundled like codec.ts.
 */
export { xsalsa20poly1305 } from "@noble/ciphers/salsa.js";
export {
  bip39Generate,
  bip39ToMiniSecret,
  bip39Validate,
  sr25519DeriveKeypairHard,
  sr25519KeypairFromSeed,
  sr25519Sign,
  sr25519Verify,
  waitReady,
} from "@polkadot/wasm-crypto";
