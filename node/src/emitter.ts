import type { Stalls } from "./stalls.js";

/** @internal */
export type Handler = (...args: any[]) => unknown;

interface Entry {
  readonly handler: Handler;
  readonly once: boolean;
  removed: boolean;
}

/**
 * Handlers by event name. Emission never throws: what a handler throws, or what its promise rejects with, goes to `report`.
 * Names are keys of a `Map`, so that `__proto__` and `constructor` are names like any other.
 *
 * @internal
 */
export class Emitter {
  /** Lists are replaced, never changed: an emission under way keeps the one it began with. */
  readonly #entries = new Map<string, readonly Entry[]>();
  readonly #report: (error: unknown, event: string) => void;
  readonly #stalls: Stalls;
  readonly #channel: string | undefined;

  /** `channel` is whose handlers these are, where not the client's. */
  constructor(report: (error: unknown, event: string) => void, stalls: Stalls, channel?: string) {
    this.#report = report;
    this.#stalls = stalls;
    this.#channel = channel;
  }

  /** Adds a handler; the function that it returns removes it again. */
  add(event: string, handler: Handler, once = false): () => void {
    if (typeof event !== "string") throw new TypeError(`the event name must be a string, not ${typeof event}`);
    if (typeof handler !== "function")
      throw new TypeError(`the handler of ${JSON.stringify(event)} must be a function`);
    const entry: Entry = { handler, once, removed: false };
    this.#entries.set(event, [...(this.#entries.get(event) ?? []), entry]);
    return () => this.#remove(event, (candidate) => candidate === entry);
  }

  /** Removes one handler, or all of an event. */
  remove(event: string, handler?: Handler): void {
    this.#remove(event, (entry) => handler === undefined || entry.handler === handler);
  }

  count(event: string): number {
    return this.#entries.get(event)?.length ?? 0;
  }

  /** Calls the handlers in the order in which they were added; returns the promises of those that gave one. */
  emit(event: string, first?: unknown, second?: unknown): Promise<unknown>[] | undefined {
    const entries = this.#entries.get(event);
    if (entries === undefined) return undefined;
    const overdue = this.#stalls.overdue;
    if (overdue[0] !== 0) this.#stalls.found();
    let promises: Promise<unknown>[] | undefined;
    for (const entry of entries) {
      if (entry.removed) continue;
      if (entry.once) this.#remove(event, (candidate) => candidate === entry);
      try {
        const result = entry.handler(first, second);
        if (isThenable(result)) {
          (promises ??= []).push(Promise.resolve(result).catch((error) => this.#report(error, event)));
        }
      } catch (error) {
        this.#report(error, event);
      }
      if (overdue[0] !== 0) this.#stalls.found(this.#channel, event, entry.handler);
    }
    return promises;
  }

  #remove(event: string, matches: (entry: Entry) => boolean): void {
    const kept: Entry[] = [];
    for (const entry of this.#entries.get(event) ?? []) {
      if (matches(entry)) entry.removed = true;
      else kept.push(entry);
    }
    if (kept.length > 0) this.#entries.set(event, kept);
    else this.#entries.delete(event);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
