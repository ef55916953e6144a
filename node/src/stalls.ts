import type { Handler } from "./emitter.js";
import type { NativeClient } from "./native.js";

/** The handler that the event loop was blocked in. */
export interface StalledHandler {
  /** The channel whose handler it is; `undefined` for one of the client. */
  readonly channel: string | undefined;
  /** What it handled; `gap` also for the loader of `channel.onGap`. */
  readonly event: string;
  /** The name of the function; empty where it has none. */
  readonly name: string;
}

/**
 * Finds out in which handler the event loop was blocked. The native side raises a flag when it has been for long, once a
 * stall: whoever finds it raised right after calling a handler, and did not before, knows that it was this one.
 *
 * @internal
 */
export class Stalls {
  /** Memory that is shared with the native side. Raised where the first is not 0. */
  readonly overdue: Uint32Array;
  #known = false;
  #found: StalledHandler | undefined;

  constructor(native: NativeClient) {
    this.overdue = native.overdue();
  }

  /** What was running since somebody looked last; nothing for what is not known. Only where the flag is raised. */
  found(channel?: string, event?: string, handler?: Handler): void {
    this.overdue[0] = 0;
    if (this.#known) return;
    this.#known = true;
    if (event !== undefined) this.#found = { channel, event, name: handler?.name ?? "" };
  }

  /** In which handler it was. */
  take(): StalledHandler | undefined {
    const found = this.#found;
    this.#known = false;
    this.#found = undefined;
    return found;
  }
}
