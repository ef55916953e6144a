/** Makes a JSON value, and all that is in it, unchangeable. @internal */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) value.forEach(deepFreeze);
  else for (const name of Object.keys(value)) deepFreeze((value as Record<string, unknown>)[name]);
  return Object.freeze(value);
}
