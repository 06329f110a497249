/**
 * Sessions as a client keeps them: one for each server and signer in this process, shared by all requests and opened with one signature
 * when it is first needed.
 */
import { isHash, toHex } from "../protocol/hash.ts";
import { type Hotkey, isHotkey } from "../protocol/hotkey.ts";
import { requestProof, type SessionRequest, sessionKey, sessionPath } from "../protocol/session.ts";
import { type RequestSigner, signRequest } from "./authentication.ts";
import { peerUnreachable } from "./errors.ts";
import { type Answer, maximumNoteBytes, refusal } from "./http-request.ts";
import { createAgreementKey } from "./key-agreement.ts";
import { type OpenedSession, sessionHeaders } from "./sessions.ts";
import { collectBytes } from "./source.ts";

export interface ClientOptions {
  readonly signer: RequestSigner;
  /** Number of a recent finalised block. */
  readonly blockNumber: () => Promise<number> | number;
  /** The server's hotkey as the chain tells it. Without it the server is asked, which is for peers the operator named and trusts. */
  readonly receiver?: Hotkey;
}

export interface ClientSession {
  /** The headers that make a request one of this session. */
  prove(request: Omit<SessionRequest, "count">): Record<string, string>;
  /** For a session that the server does not know any more: the next one to ask opens another. */
  forget(): void;
}

/** Nobody's signal ends what others wait for too: the limits of requests do. */
type Ask = (path: string, headers: Record<string, string>) => Promise<Answer>;

const known = new WeakMap<RequestSigner, Map<string, Promise<ClientSession>>>();

/** The session with the server at `origin`. Errors: peer-unreachable, request-refused. */
export function openSession(origin: string, options: ClientOptions, ask: Ask): Promise<ClientSession> {
  const sessions = known.get(options.signer) ?? new Map<string, Promise<ClientSession>>();
  known.set(options.signer, sessions);
  const name = `${origin} ${options.receiver ?? ""}`;
  const forget = (session: Promise<ClientSession>) => {
    if (sessions.get(name) === session) sessions.delete(name);
  };
  const before = sessions.get(name);
  if (before !== undefined) return before;
  const opening: Promise<ClientSession> = open(origin, options, ask).then((prove) => ({ prove, forget: () => forget(opening) }));
  sessions.set(name, opening);
  opening.catch(() => forget(opening));
  return opening;
}

async function open(origin: string, options: ClientOptions, ask: Ask): Promise<ClientSession["prove"]> {
  const { signer } = options;
  const receiver = options.receiver ?? (await askReceiver(origin, ask));
  const own = createAgreementKey();
  const path = sessionPath(own.publicKey);
  const headers = signRequest(signer, { method: "GET", path, range: undefined, receiver, block: await options.blockNumber() });
  const answer = await ask(path, headers);
  if (answer.response.status !== 200) throw await refusal(answer, origin, path);
  const { session, key: receiverKey } = await readOpened(origin, answer);
  const secret = own.agree(receiverKey);
  if (secret === undefined) throw peerUnreachable(origin, "its key for a session is none");
  const key = sessionKey(secret, { sender: signer.address, receiver, senderKey: own.publicKey, receiverKey, session });
  let count = 0;
  return (request) => {
    count++;
    const proof = toHex(requestProof(key, { ...request, count }));
    return { [sessionHeaders.session]: session, [sessionHeaders.count]: String(count), [sessionHeaders.proof]: proof };
  };
}

async function askReceiver(origin: string, ask: Ask): Promise<Hotkey> {
  const answer = await ask("/hotkey", {});
  const text = Buffer.from(await collectBytes(answer.body(), maximumNoteBytes))
    .toString("latin1")
    .trim();
  if (answer.response.status === 200 && isHotkey(text)) return text;
  throw peerUnreachable(origin, "it does not say which hotkey it serves for");
}

async function readOpened(origin: string, answer: Answer): Promise<OpenedSession> {
  const bytes = await collectBytes(answer.body(), maximumNoteBytes);
  try {
    const { session, key } = JSON.parse(Buffer.from(bytes).toString("utf8")) as Record<string, unknown>;
    if (typeof session === "string" && /^[0-9a-f]{32}$/.test(session) && isHash(key)) return { session, key };
  } catch {
    // Not JSON: told below.
  }
  throw peerUnreachable(origin, "it does not answer with a session");
}
