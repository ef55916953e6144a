/** Makes a JSON value, and all that is in it, unchangeable. It may be nested deeper than the stack is. @internal */
export function deepFreeze<T>(value: T): T {
  const open: object[] = [];
  const take = (value: unknown): void => {
    if (typeof value === "object" && value !== null) open.push(value);
  };
  take(value);
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (Array.isArray(next)) next.forEach(take);
    else for (const name of Object.keys(next)) take((next as Record<string, unknown>)[name]);
    Object.freeze(next);
  }
  return value;
}
