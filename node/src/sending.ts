import { inspect, type InspectOptions } from "node:util";
import type { RealtimeError } from "./errors.js";
import type { Receipt } from "./message.js";

/**
 * The promise of a receipt. It becomes a real promise only where somebody asks (`await`, `then`): a send that nobody
 * waits for costs none. A failure that nobody has asked for a tick later is reported instead of crashing the process.
 *
 * @internal
 */
export class Sending implements Promise<Receipt> {
  readonly channel: string | undefined;
  #outcome: Receipt | RealtimeError | undefined;
  #failed = false;
  #promise: Promise<Receipt> | undefined;
  #resolve: ((receipt: Receipt) => void) | undefined;
  #reject: ((error: RealtimeError) => void) | undefined;

  constructor(channel: string | undefined) {
    this.channel = channel;
  }

  get [Symbol.toStringTag](): string {
    return "Promise";
  }

  succeed(receipt: Receipt): void {
    this.#outcome = receipt;
    this.#resolve?.(receipt);
  }

  /** Fails it; `report` is called where nobody waits for it. */
  fail(error: RealtimeError, report: (error: RealtimeError) => void): void {
    this.#outcome = error;
    this.#failed = true;
    if (this.#reject !== undefined) this.#reject(error);
    else setImmediate(() => this.#promise === undefined && report(error));
  }

  then<T = Receipt, F = never>(
    onfulfilled?: ((receipt: Receipt) => T | PromiseLike<T>) | null,
    onrejected?: ((reason: any) => F | PromiseLike<F>) | null,
  ): Promise<T | F> {
    return this.#real().then(onfulfilled, onrejected);
  }

  catch<F = never>(onrejected?: ((reason: any) => F | PromiseLike<F>) | null): Promise<Receipt | F> {
    return this.#real().catch(onrejected);
  }

  finally(onfinally?: (() => void) | null): Promise<Receipt> {
    return this.#real().finally(onfinally);
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    if (this.#outcome === undefined) return "Promise { <pending> }";
    return `Promise { ${this.#failed ? "<rejected> " : ""}${inspect(this.#outcome, options)} }`;
  }

  #real(): Promise<Receipt> {
    return (this.#promise ??= new Promise((resolve, reject) => {
      if (this.#outcome === undefined) {
        this.#resolve = resolve;
        this.#reject = reject;
      } else if (this.#failed) reject(this.#outcome);
      else resolve(this.#outcome as Receipt);
    }));
  }
}
