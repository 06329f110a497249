/** What a method needs of the connection it was called on: subscriptions that end with it. */

export interface Connection {
  /**
   * Begins a subscription. What `start` sends at once is held back until the id has been answered: clients drop a
   * notification whose subscription they do not know yet.
   * @param notification the method name that its notifications carry
   * @param start gets a function that sends a result and one that ends the subscription from here; returns one that stops
   * @returns the subscription's id
   */
  subscribe(notification: string, start: (send: (result: unknown) => void, end: () => void) => () => void): string;
  /** @returns whether there was such a subscription */
  unsubscribe(id: string): boolean;
}

/** A JSON-RPC method. A thrown RpcError becomes its error; anything else an internal one. */
export type Method = (parameters: readonly unknown[], connection: Connection) => unknown;

export type Methods = Readonly<Record<string, Method>>;
