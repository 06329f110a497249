/** The last values asked for, by key. A promise that is rejected is forgotten, so that a failure is never remembered. */
export interface Recent<K, V> {
  get(key: K, make: () => V): V;
}

export function createRecent<K, V>(size: number): Recent<K, V> {
  const values = new Map<K, V>();
  return {
    get(key, make) {
      const known = values.get(key);
      if (known !== undefined) {
        values.delete(key);
        values.set(key, known); // the last used is the last to go
        return known;
      }
      const value = make();
      values.set(key, value);
      if (values.size > size) values.delete(values.keys().next().value as K);
      if (value instanceof Promise) value.catch(() => values.get(key) === value && values.delete(key));
      return value;
    },
  };
}
