/** Tasks that take turns: those of one name run one after the other, in the order given; those of different names together. */
export interface Queues {
  run<T>(name: string, task: () => Promise<T>): Promise<T>;
}

export function createQueues(): Queues {
  const last = new Map<string, Promise<unknown>>();
  return {
    run<T>(name: string, task: () => Promise<T>): Promise<T> {
      const turn = (last.get(name) ?? Promise.resolve()).then(task);
      const settled = turn.then(
        () => {},
        () => {},
      );
      last.set(name, settled);
      settled.then(() => last.get(name) === settled && last.delete(name));
      return turn;
    },
  };
}
