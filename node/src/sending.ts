import { inspect, type InspectOptions } from "node:util";
import type { RealtimeError } from "./errors.js";
import type { Receipt } from "./message.js";

/** What becomes of a request that is no send. @internal */
export interface Answer<T> {
  /** What the receipt comes to. */
  value: (receipt: Receipt) => T;
  /** It has failed. */
  failed?: () => void;
  /** It has failed, and nobody waits for it. */
  unseen: (error: RealtimeError) => void;
}

/**
 * The promise of a receipt, or of what it comes to. It becomes a real promise only where somebody asks (`await`, `then`): a
 * send that nobody waits for costs none. A failure that nobody has asked for a tick later is reported instead of crashing the
 * process.
 *
 * @internal
 */
export class Sending<T = Receipt> implements Promise<T> {
  readonly channel: string | undefined;
  readonly #answer: Answer<T> | undefined;
  #outcome: T | RealtimeError | undefined;
  #done = false;
  #failed = false;
  #promise: Promise<T> | undefined;
  #resolve: ((value: T) => void) | undefined;
  #reject: ((error: RealtimeError) => void) | undefined;

  constructor(channel: string | undefined, answer?: Answer<T>) {
    this.channel = channel;
    this.#answer = answer;
  }

  get [Symbol.toStringTag](): string {
    return "Promise";
  }

  succeed(receipt: Receipt): void {
    const value = this.#answer === undefined ? (receipt as T) : this.#answer.value(receipt);
    this.#outcome = value;
    this.#done = true;
    this.#resolve?.(value);
  }

  /** Fails it; `report` is called where nobody waits for it. */
  fail(error: RealtimeError, report: (error: RealtimeError) => void): void {
    this.#answer?.failed?.();
    this.#outcome = error;
    this.#done = this.#failed = true;
    if (this.#reject !== undefined) this.#reject(error);
    else setImmediate(() => this.#promise === undefined && (this.#answer?.unseen ?? report)(error));
  }

  then<V = T, F = never>(
    onfulfilled?: ((value: T) => V | PromiseLike<V>) | null,
    onrejected?: ((reason: any) => F | PromiseLike<F>) | null,
  ): Promise<V | F> {
    return this.#real().then(onfulfilled, onrejected);
  }

  catch<F = never>(onrejected?: ((reason: any) => F | PromiseLike<F>) | null): Promise<T | F> {
    return this.#real().catch(onrejected);
  }

  finally(onfinally?: (() => void) | null): Promise<T> {
    return this.#real().finally(onfinally);
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    if (!this.#done) return "Promise { <pending> }";
    return `Promise { ${this.#failed ? "<rejected> " : ""}${inspect(this.#outcome, options)} }`;
  }

  #real(): Promise<T> {
    return (this.#promise ??= new Promise((resolve, reject) => {
      if (!this.#done) {
        this.#resolve = resolve;
        this.#reject = reject;
      } else if (this.#failed) reject(this.#outcome);
      else resolve(this.#outcome as T);
    }));
  }
}
