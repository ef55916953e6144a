import { Emitter, type Handler } from "./emitter.js";
import { RealtimeError, native } from "./errors.js";
import type { NativeClient } from "./native.js";
import type { Outbox } from "./outbox.js";
import type { ChannelState } from "./channel.js";
import type { Stalls } from "./stalls.js";
import { Turns } from "./turns.js";

/** What presence and collections need of their client. @internal */
export interface StreamHost {
  readonly native: NativeClient;
  readonly outbox: Outbox;
  consumed(id: number, bytes: number): void;
  handlerFailed(error: unknown, event: string, where: string): void;
  reportError(error: RealtimeError): void;
  readonly stalls: Stalls;
}

/** What a client does with a stream: presence, or a collection. @internal */
export interface StreamDriver {
  stateChanged(state: ChannelState, error: RealtimeError | undefined): void;
  /** The client is gone, by its own wish or for good. */
  ended(error: RealtimeError | undefined): void;
  presence?(told: any, size: number): void;
  change?(change: IncomingChange): void;
  synced?(reason: string): void;
  diverged?(offset: number): void;
}

/** A change of a collection as it crosses. @internal */
export interface IncomingChange {
  stream: number;
  id: string;
  /** `undefined` for a record that is gone. */
  record: any;
  revision: number | undefined;
  version: number;
  size: number;
  /** Only the revision is another. */
  confirms: boolean;
  /** Of the first snapshot. */
  initial: boolean;
  local: boolean;
}

/**
 * What presence and collections have in common: they are kept in sync with the server until they are closed, and have
 * events. A promise that a handler returns is awaited before the next event is told.
 */
export abstract class Stream<Events extends { [K in keyof Events]: unknown[] }> {
  readonly #what: string;
  readonly #emitter: Emitter;
  readonly #turns = new Turns();
  readonly #ready: { resolve: () => void; reject: (error: RealtimeError) => void }[] = [];
  #watched = false;
  #synced = false;
  #error: RealtimeError | undefined;
  /** @internal */
  protected readonly host: StreamHost;
  /** @internal */
  protected readonly number: number;

  /** @internal */
  constructor(channel: string, what: string, number: number, host: StreamHost) {
    this.#what = `${what} of channel ${JSON.stringify(channel)}`;
    this.number = number;
    this.host = host;
    this.#emitter = new Emitter((error, event) => host.handlerFailed(error, event, this.#what), host.stalls, channel);
  }

  /** Resolves once what is shown is what the server has; rejects with its refusal, or where the client ends before. */
  ready(): Promise<this> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    this.watch();
    if (this.#synced) return Promise.resolve(this);
    return new Promise((resolve, reject) => this.#ready.push({ resolve: () => resolve(this), reject }));
  }

  /** Adds a handler; the function that it returns removes it again. */
  on<K extends keyof Events & string>(event: K, handler: (...args: Events[K]) => unknown): () => void {
    const remove = this.#emitter.add(event, handler as Handler);
    this.listened(event);
    return remove;
  }

  /** Adds a handler for the next time only. */
  once<K extends keyof Events & string>(event: K, handler: (...args: Events[K]) => unknown): () => void {
    const remove = this.#emitter.add(event, handler as Handler, true);
    this.listened(event);
    return remove;
  }

  /** Removes a handler, or all of an event. */
  off<K extends keyof Events & string>(event: K, handler?: (...args: Events[K]) => unknown): this {
    this.#emitter.remove(event, handler as Handler | undefined);
    return this;
  }

  listenerCount(event: keyof Events & string): number {
    return this.#emitter.count(event);
  }

  /** @internal */
  protected listened(_event: string): void {}

  /** @internal */
  protected get isSynced(): boolean {
    return this.#synced;
  }

  /** @internal */
  protected watch(): void {
    if (this.#watched) return;
    this.#watched = true;
    this.#error = undefined;
    native(() => this.host.native.watch(this.number));
  }

  /** @internal */
  protected unwatch(): void {
    if (!this.#watched) return;
    this.#watched = this.#synced = false;
    this.host.native.unsubscribe(this.number);
    this.#rejectReady(new RealtimeError("closed", `${this.#what} was closed`));
  }

  /** Tells handlers; `size` counts as consumed when they are done. @internal */
  protected tell(emit: (emitter: Emitter) => Promise<unknown>[] | undefined, size = 0): void {
    const done = size > 0 ? () => this.host.consumed(this.number, size) : undefined;
    this.#turns.add(() => emit(this.#emitter), done);
  }

  /** What failed and nobody waits for. @internal */
  protected readonly unseen = (error: RealtimeError): void => {
    if (this.#emitter.count("error") > 0) this.tell((emitter) => emitter.emit("error", error));
    else this.host.reportError(error);
  };

  /** @internal */
  protected stateChanged(state: ChannelState, error: RealtimeError | undefined): void {
    if (state !== "failed" || !this.#watched) return;
    const reason = error ?? new RealtimeError("refused", `the server refused ${this.#what}`);
    this.#error = reason;
    this.#watched = this.#synced = false;
    const heard = this.#ready.length > 0;
    this.#rejectReady(reason);
    if (!heard || this.#emitter.count("error") > 0) this.unseen(reason);
  }

  /** @internal */
  protected synced(): void {
    this.#synced = true;
    for (const { resolve } of this.#ready.splice(0)) resolve();
  }

  /** @internal */
  protected ended(error: RealtimeError | undefined): void {
    this.#rejectReady(error ?? new RealtimeError("closed", "the client was disconnected"));
  }

  #rejectReady(error: RealtimeError): void {
    for (const { reject } of this.#ready.splice(0)) reject(error);
  }
}
