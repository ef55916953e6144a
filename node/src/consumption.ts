import type { NativeClient } from "./native.js";

/** What handlers and loops have consumed, told to the native side once per turn: that is the backpressure. @internal */
export class Consumption {
  readonly #native: NativeClient;
  /** Bytes by channel id; -1 for messages of the backend. */
  readonly #bytes = new Map<number, number>();
  #scheduled = false;

  constructor(native: NativeClient) {
    this.#native = native;
  }

  add(id: number, bytes: number): void {
    this.#bytes.set(id, (this.#bytes.get(id) ?? 0) + bytes);
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.report());
  }

  report(): void {
    this.#scheduled = false;
    if (this.#bytes.size === 0) return;
    const pairs: number[] = [];
    for (const [id, bytes] of this.#bytes) pairs.push(id, bytes);
    this.#bytes.clear();
    this.#native.consumed(pairs);
  }
}
