/**
 * A runtime's metadata as codecs: for storage, calls, runtime APIs, errors and the parts of a signed transaction. This is the only description of
 * the chain that there is here: no index, hasher, type or default is written down, so that a runtime which moves them is read all the same.
 *
 * Values are as polkadot-api writes them: names as in Rust (`SubtensorModule`, `set_weights`), accounts as SS58 text, fixed bytes as `0x` text,
 * variable ones as Uint8Array, integers beyond 32 bits as bigint, enums as `{type, value}`, options as the value or undefined, and a struct of one
 * field as that field.
 */
import { ConnitoError } from "../errors.ts";
import { chainUnsupported } from "./chain-errors.ts";

/** A call by pallet and name, its arguments by theirs. */
export interface Call {
  readonly pallet: string;
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

export interface StorageCodec {
  /** `0x` text. With fewer keys than the map has, the prefix of all entries under them. */
  key(...keys: readonly unknown[]): string;
  /** The keys of an entry, as far as its hashers let them be read back. */
  keysOf(key: string): readonly unknown[];
  /** The stored bytes as a value; for none the chain's default, or undefined where it has none. */
  decode(bytes: Uint8Array | undefined): unknown;
}

export interface RuntimeApiCodec {
  /** As `state_call` names it. */
  readonly name: string;
  encode(...args: readonly unknown[]): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

/** A part of a signed transaction beside its call: what it carries, and what its signature covers on top. */
export interface Extension {
  readonly name: string;
  /** Encodes the part; without a value its emptiest form. Throws `chain-unsupported` where it has none. */
  carried(value?: unknown): Uint8Array;
  covered(value?: unknown): Uint8Array;
}

export interface Codecs {
  /** Whether the chain has a pallet of this name. */
  has(pallet: string): boolean;
  hasStorage(pallet: string, item: string): boolean;
  /** Throws `chain-unsupported`, as do all below, where the chain has no such thing. */
  storage(pallet: string, item: string): StorageCodec;
  constant(pallet: string, name: string): unknown;
  runtimeApi(api: string, method: string): RuntimeApiCodec;
  /** The names of a call's arguments, in order. */
  argumentsOf(pallet: string, name: string): readonly string[];
  encodeCall(call: Call): Uint8Array;
  hasError(pallet: string, error: string): boolean;
  /** What the runtime's authors say about an error; may be empty. */
  wordsOn(pallet: string, error: string): string;
  readonly extensions: readonly Extension[];
  /** The values of all that a signed transaction carries beside its call and signature, in the order of `extensions`. */
  decodeExtensions(bytes: Uint8Array): readonly unknown[];
}

type Library = typeof import("./packages/codec.ts");
type Builder = ReturnType<Library["getDynamicBuilder"]>;
type Codec = ReturnType<Builder["buildDefinition"]>;

let library: Promise<Library> | undefined;

/** Loads the codec library; worth beginning before the node has answered. */
export function loadCodecLibrary(): Promise<Library> {
  library ??= import("./packages/codec.ts");
  return library;
}

function undecodable(what: string, cause: unknown): ConnitoError {
  return new ConnitoError(`${what} does not have the form that the chain's own metadata gives it`, {
    code: "chain-undecodable",
    exit: "network",
    hint: "The endpoint may be broken: try another one with --network.",
    cause,
  });
}

function decoded(what: string, codec: Codec, bytes: Uint8Array): unknown {
  try {
    return codec.dec(Uint8Array.from(bytes)); // the library reads the whole buffer under a view
  } catch (cause) {
    throw undecodable(what, cause);
  }
}

function memoized<T>(make: (first: string, second: string) => T): (first: string, second: string) => T {
  const made = new Map<string, T>();
  return (first, second) => {
    const key = `${first}.${second}`;
    let value = made.get(key);
    if (value === undefined) {
      value = make(first, second);
      made.set(key, value);
    }
    return value;
  };
}

/** Codecs of metadata of version 15 or 16. Throws `chain-undecodable` for bytes that are none. */
export async function codecsOf(bytes: Uint8Array): Promise<Codecs> {
  const { decAnyMetadata, getDynamicBuilder, getLookupFn, Tuple, unifyMetadata } = await loadCodecLibrary();
  let metadata: ReturnType<typeof unifyMetadata>;
  try {
    metadata = unifyMetadata(decAnyMetadata(Uint8Array.from(bytes)));
  } catch (cause) {
    throw undecodable("the chain's metadata", cause);
  }
  const lookup = getLookupFn(metadata);
  const builder = getDynamicBuilder(lookup);
  const palletOf = (name: string) => metadata.pallets.find((pallet) => pallet.name === name);

  const itemOf = (pallet: string, item: string) => palletOf(pallet)?.storage?.items.find(({ name }) => name === item);

  function storage(pallet: string, item: string): StorageCodec {
    const what = `the storage ${pallet}.${item}`;
    if (itemOf(pallet, item) === undefined) throw chainUnsupported(what);
    const { keys, value, fallback } = builder.buildStorage(pallet, item);
    return {
      key: (...given) => keys.enc(...given),
      keysOf: (key) => {
        try {
          return keys.dec(key);
        } catch (cause) {
          throw undecodable(`a key of ${what}`, cause);
        }
      },
      decode: (stored) => (stored === undefined ? fallback : decoded(what, value, stored)),
    };
  }

  function runtimeApi(api: string, method: string): RuntimeApiCodec {
    const what = `the runtime API ${api}.${method}`;
    if (!metadata.apis.some(({ name, methods }) => name === api && methods.some((one) => one.name === method)))
      throw chainUnsupported(what);
    const { args, value } = builder.buildRuntimeCall(api, method);
    return {
      name: `${api}_${method}`,
      encode: (...given) => args.enc(given as unknown[]),
      decode: (answer) => decoded(`the answer of ${what}`, value, answer),
    };
  }

  function argumentsOf(pallet: string, name: string): readonly string[] {
    const calls = palletOf(pallet)?.calls;
    const variants = calls === undefined ? undefined : lookup(calls.type);
    const call = variants?.type === "enum" ? variants.value[name] : undefined;
    if (call === undefined) throw chainUnsupported(`the call ${pallet}.${name}`);
    return call.type === "struct" ? Object.keys(call.value) : [];
  }

  function errorsOf(pallet: string) {
    const errors = palletOf(pallet)?.errors;
    const variants = errors === undefined ? undefined : lookup(errors.type);
    return variants?.type === "enum" ? variants : undefined;
  }

  const callCodec = memoized((pallet, name) => builder.buildCall(pallet, name));

  /** The emptiest value of a type: no bytes, or no option. */
  function emptiest(name: string, type: number): Uint8Array {
    const { type: kind } = lookup(type);
    if (kind === "void") return new Uint8Array();
    if (kind === "option") return Uint8Array.of(0);
    throw chainUnsupported(`a transaction extension that this version knows: it asks for ${name}`);
  }

  const parts = metadata.extrinsic.extensionsByVersion[0] ?? [];
  const carriedCodecs = parts.map(({ type }) => builder.buildDefinition(type));
  const carried = Tuple(...carriedCodecs) as Codec;

  return {
    has: (pallet) => palletOf(pallet) !== undefined,
    hasStorage: (pallet, item) => itemOf(pallet, item) !== undefined,
    storage: memoized(storage),
    constant: (pallet, name) => {
      const constant = palletOf(pallet)?.constants.find((one) => one.name === name);
      if (constant === undefined) throw chainUnsupported(`the constant ${pallet}.${name}`);
      const value = typeof constant.value === "string" ? Buffer.from((constant.value as string).slice(2), "hex") : constant.value;
      return decoded(`the constant ${pallet}.${name}`, builder.buildConstant(pallet, name), value);
    },
    runtimeApi: memoized(runtimeApi),
    argumentsOf,
    encodeCall: ({ pallet, name, args }) => {
      const wanted = argumentsOf(pallet, name);
      const given = Object.keys(args);
      if (wanted.length !== given.length || wanted.some((argument) => !given.includes(argument)))
        throw chainUnsupported(`the call ${pallet}.${name} with the arguments ${given.join(", ")}: it wants ${wanted.join(", ")}`);
      const { location, codec } = callCodec(pallet, name);
      return Buffer.concat([Uint8Array.from(location), codec.enc(args)]);
    },
    hasError: (pallet, error) => errorsOf(pallet)?.value[error] !== undefined,
    wordsOn: (pallet, error) => (errorsOf(pallet)?.innerDocs[error] ?? []).join(" ").trim(),
    extensions: parts.map(({ identifier, type, additionalSigned }, index) => ({
      name: identifier,
      carried: (value) => (value === undefined ? emptiest(identifier, type) : (carriedCodecs[index] as Codec).enc(value)),
      covered: (value) =>
        value === undefined ? emptiest(identifier, additionalSigned) : builder.buildDefinition(additionalSigned).enc(value),
    })),
    decodeExtensions: (given) => decoded("what a transaction carries", carried, given) as unknown[],
  };
}
