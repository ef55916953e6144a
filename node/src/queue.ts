import type { RealtimeError } from "./errors.js";
import type { ChannelMessage } from "./message.js";

interface Waiter {
  resolve: (result: IteratorResult<ChannelMessage>) => void;
  reject: (error: RealtimeError) => void;
}

const DONE: IteratorResult<ChannelMessage> = { done: true, value: undefined };

/**
 * The messages between a channel and one `for await` loop over it. Bounded by the client's inbox: what a loop has not
 * taken is not consumed.
 *
 * @internal
 */
export class MessageQueue implements AsyncIterableIterator<ChannelMessage> {
  readonly #forget: () => void;
  #messages: { message: ChannelMessage; release: () => void }[] = [];
  #next = 0;
  #waiters: Waiter[] = [];
  /** Releases the message that the loop works on. */
  #current: (() => void) | undefined;
  #ended = false;
  #error: RealtimeError | undefined;

  constructor(forget: () => void) {
    this.#forget = forget;
  }

  /** Adds a message; `release` is called once the loop is done with it. */
  push(message: ChannelMessage, release: () => void): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#messages.push({ message, release });
    else {
      // Whoever asked again while a message was on its way is done with the one before.
      this.#release();
      this.#current = release;
      waiter.resolve({ done: false, value: message });
    }
  }

  /** Ends the loop after what is queued; with the error where there is one. */
  end(error: RealtimeError | undefined): void {
    this.#ended = true;
    this.#error = error;
    this.#forget();
    for (const waiter of this.#waiters.splice(0)) {
      if (error === undefined) waiter.resolve(DONE);
      else waiter.reject(error);
    }
  }

  /** Ends the loop and gives up what is queued. */
  stop(): void {
    this.#release();
    for (const { release } of this.#messages.splice(this.#next)) release();
    this.#messages = [];
    this.#next = 0;
    this.end(undefined);
  }

  next(): Promise<IteratorResult<ChannelMessage>> {
    this.#release();
    const entry = this.#messages[this.#next];
    if (entry !== undefined) {
      this.#next++;
      // Moving everything up for each message would be quadratic.
      if (this.#next > 1024 && this.#next * 2 > this.#messages.length) {
        this.#messages = this.#messages.slice(this.#next);
        this.#next = 0;
      } else if (this.#next === this.#messages.length) {
        this.#messages = [];
        this.#next = 0;
      }
      this.#current = entry.release;
      return Promise.resolve({ done: false, value: entry.message });
    }
    if (this.#error !== undefined) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#ended) return Promise.resolve(DONE);
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<ChannelMessage>> {
    this.stop();
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #release(): void {
    this.#current?.();
    this.#current = undefined;
  }
}
