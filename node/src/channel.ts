import { inspect } from "node:util";
import { Emitter, type Handler } from "./emitter.js";
import { RealtimeError } from "./errors.js";
import type { ChannelMessage, Gap, Position, Receipt } from "./message.js";
import type { AnyRecord, NewRecord, RealtimeCollection } from "./collection.js";
import type { RealtimePresence } from "./presence.js";
import { MessageQueue } from "./queue.js";
import type { Stalls } from "./stalls.js";

/** What a channel is doing. `failed`: the server refused it. */
export type ChannelState = "idle" | "subscribing" | "subscribed" | "resubscribing" | "unsubscribing" | "failed";

/** The channel's own events; a peer's event with such a name arrives in `for await` and under the client's `message` only. */
export interface ChannelEvents {
  /** Messages are missing and will not come. */
  gap: [gap: Gap];
  /** The state changed; `error` says why, where it is `failed`. */
  state: [state: ChannelState, error: RealtimeError | undefined];
}

/** The handler of an event. A promise that it returns is awaited before the channel's next message is handled. */
export type ChannelHandler<Events extends object, K> = K extends keyof ChannelEvents
  ? (...args: ChannelEvents[K]) => unknown
  : K extends keyof Events & string
    ? (data: Events[K], message: ChannelMessage<Events[K], K>) => unknown
    : never;

/** Loads a snapshot; returns up to where it reaches, as a position or its offset alone, where it knows. */
export type Loader = (gap: Gap) => Position | number | void | Promise<Position | number | void>;

/** The events that a channel can have handlers for. */
export type ChannelEventName<Events extends object> = keyof ChannelEvents | (keyof Events & string);

type Name<Events extends object> = keyof Events & string;

type AnyMessage<Events extends object> = { [K in Name<Events>]: ChannelMessage<Events[K], K> }[Name<Events>];

/** What a channel needs of its client. @internal */
export interface Host {
  readonly stalls: Stalls;
  subscribe(name: string): void;
  unsubscribe(id: number): void;
  send(channel: string, id: number, event: string, payload: unknown): Promise<Receipt>;
  loadOn(id: number, gaps: boolean, initial: boolean): void;
  loaded(id: number, load: number, position: Position | undefined): void;
  consumed(id: number, bytes: number): void;
  presence<User extends object>(channel: string): RealtimePresence<User>;
  collection<T extends { id: string }>(channel: string, name: string): RealtimeCollection<T>;
  handlerFailed(error: unknown, event: string, channel: string): void;
}

/** What a client does with its channels. @internal */
export interface ChannelDriver {
  deliver(message: ChannelMessage, size: number): void;
  gap(gap: Gap): void;
  load(load: number, gap: Gap): Promise<void>;
  stateChanged(state: ChannelState, error: RealtimeError | undefined): void;
  /** The client is gone, by its own wish or for good: waiting loops end, with the error where there is one. */
  ended(error: RealtimeError | undefined): void;
}

/** Opens the inside of a channel to its client alone. @internal */
export const drivers = new WeakMap<RealtimeChannel<any, any>, ChannelDriver>();

/**
 * A channel of a client; `client.channel(name)` makes it, and gives the same one for the same name. `Events` are the payloads of
 * its events, `User` is what those who are present tell of themselves.
 */
export class RealtimeChannel<
  Events extends object = Record<string, any>,
  User extends object = Record<string, any>,
> implements AsyncIterable<AnyMessage<Events>> {
  readonly name: string;
  readonly #id: number;
  readonly #host: Host;
  readonly #emitter: Emitter;
  readonly #queues = new Set<MessageQueue>();
  readonly #ready: { resolve: () => void; reject: (error: RealtimeError) => void }[] = [];
  #state: ChannelState = "idle";
  /** Subscribed by the application, and not refused. */
  #wanted = false;
  #error: RealtimeError | undefined;
  /** Messages behind a handler whose promise is pending. The inbox bounds them: none of them counts as consumed. */
  #backlog: { message: ChannelMessage; size: number }[] = [];
  #busy = false;
  #loader: Loader | undefined;
  #presence: RealtimePresence<User> | undefined;
  readonly #collections = new Map<string, RealtimeCollection<any>>();

  /** @internal */
  constructor(name: string, id: number, host: Host) {
    this.name = name;
    this.#id = id;
    this.#host = host;
    this.#emitter = new Emitter((error, event) => host.handlerFailed(error, event, name), host.stalls, name);
    drivers.set(this, {
      deliver: (message, size) => this.#deliver(message, size),
      gap: (gap) => void this.#emitter.emit("gap", gap),
      load: (load, gap) => this.#load(load, gap),
      stateChanged: (state, error) => this.#changeState(state, error),
      ended: (error) => this.#end(error),
    });
  }

  get state(): ChannelState {
    return this.#state;
  }

  /** Who is present in the channel. Needs no subscription. */
  get presence(): RealtimePresence<User> {
    return (this.#presence ??= this.#host.presence(this.name));
  }

  /**
   * The collection of this name, always the same one, kept in sync from now on. Needs no subscription. `initialData` is shown
   * until the server's records are here, such as those that were rendered into a page; it counts where the collection is asked
   * for first.
   */
  collection<T extends { id: string } = AnyRecord>(
    name: string,
    { initialData }: { initialData?: Iterable<NewRecord<T>> } = {},
  ): RealtimeCollection<T> {
    let collection = this.#collections.get(name) as RealtimeCollection<T> | undefined;
    if (collection === undefined) {
      collection = this.#host.collection<T>(this.name, name);
      collection.open(initialData);
      this.#collections.set(name, collection);
    } else collection.open(undefined);
    return collection;
  }

  /** Subscribes, now or once connected, and again after every reconnect, from where it was. */
  subscribe(): this {
    if (!this.#wanted) {
      this.#host.subscribe(this.name);
      this.#wanted = true;
      this.#state = "subscribing";
      this.#error = undefined;
    }
    return this;
  }

  /** Resolves once messages flow; rejects where the server refuses the channel, or the client ends before. */
  ready(): Promise<this> {
    if (this.#state === "subscribed") return Promise.resolve(this);
    if (this.#state === "failed" && this.#error) return Promise.reject(this.#error);
    if (!this.#wanted) {
      return Promise.reject(
        new RealtimeError("closed", `channel ${quote(this.name)} is not subscribed: call subscribe() first`),
      );
    }
    return new Promise((resolve, reject) => this.#ready.push({ resolve: () => resolve(this), reject }));
  }

  /** Ends the subscription. No handler is called any more, and loops over the channel end. */
  unsubscribe(): void {
    if (this.#state === "idle" || this.#state === "unsubscribing") return;
    this.#wanted = false;
    this.#state = "unsubscribing";
    this.#host.unsubscribe(this.#id);
    for (const { size } of this.#backlog.splice(0)) this.#host.consumed(this.#id, size);
    for (const queue of this.#queues) queue.stop();
    this.#rejectReady(new RealtimeError("closed", `channel ${quote(this.name)} was unsubscribed`));
  }

  /** Adds a handler; the function that it returns removes it again. */
  on<K extends ChannelEventName<Events>>(event: K, handler: ChannelHandler<Events, K>): () => void {
    return this.#emitter.add(event, handler as Handler);
  }

  /** Adds a handler for the next time only. */
  once<K extends ChannelEventName<Events>>(event: K, handler: ChannelHandler<Events, K>): () => void {
    return this.#emitter.add(event, handler as Handler, true);
  }

  /** Removes a handler, or all of an event. */
  off<K extends ChannelEventName<Events>>(event: K, handler?: ChannelHandler<Events, K>): this {
    this.#emitter.remove(event, handler as Handler | undefined);
    return this;
  }

  /**
   * Loads a snapshot where messages are missing, while the messages after them wait. Returns a function that ends this.
   *
   * After every gap (in `plain`: after every reconnect), once the messages before it are handled, `load` is called with
   * it, and the channel's messages wait until it is done. Where it returns up to where the snapshot reaches, messages up to
   * there are dropped and counted (`covered`). Where it throws, that is an `error` event (`handler_failed`), and the
   * messages come all the same. Another gap meanwhile calls it again afterwards. With `initial` it is also called when a
   * subscription begins, with the reason `initial`; set it before `subscribe()`. A channel has one; another replaces it.
   */
  onGap(load: Loader, { initial = false }: { initial?: boolean } = {}): () => void {
    if (typeof load !== "function") throw new TypeError("the loader of a channel must be a function");
    this.#loader = load;
    this.#host.loadOn(this.#id, true, initial);
    return () => {
      if (this.#loader !== load) return;
      this.#loader = undefined;
      this.#host.loadOn(this.#id, false, false);
    };
  }

  listenerCount(event: ChannelEventName<Events>): number {
    return this.#emitter.count(event);
  }

  /**
   * Sends to everybody who is subscribed. Bytes (`Uint8Array`, `Buffer`, `ArrayBuffer`) travel as a binary message.
   * Works offline; the receipt comes once the server has it. Needs no subscription.
   */
  send<K extends Name<Events>>(event: K, payload: Events[K]): Promise<Receipt> {
    return this.#host.send(this.name, this.#id, event, payload);
  }

  /**
   * Every message of the channel, in order; subscribes where that was not done. A message counts as consumed when the
   * loop asks for the next one, so that a slow loop slows the server down.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<AnyMessage<Events>> {
    if (this.#state === "idle") this.subscribe();
    const queue: MessageQueue = new MessageQueue(() => this.#queues.delete(queue));
    this.#queues.add(queue);
    if (this.#state === "failed") queue.end(this.#error);
    return queue as AsyncIterableIterator<any>;
  }

  /** @internal */
  [inspect.custom](): string {
    return `RealtimeChannel { name: ${quote(this.name)}, state: "${this.#state}" }`;
  }

  #deliver(message: ChannelMessage, size: number): void {
    if (!this.#wanted) return this.#host.consumed(this.#id, size);
    if (this.#busy) this.#backlog.push({ message, size });
    else this.#handle(message, size);
  }

  #handle(message: ChannelMessage, size: number): void {
    const { event, data } = message;
    const own = event === "gap" || event === "state";
    const promises = own ? undefined : this.#emitter.emit(event, data, message);
    if (promises === undefined && this.#queues.size === 0) return this.#host.consumed(this.#id, size);
    // Consumed once the slowest of them is done.
    let holders = this.#queues.size + (promises === undefined ? 0 : 1);
    const release = (): void => {
      if (--holders === 0) this.#host.consumed(this.#id, size);
    };
    for (const queue of this.#queues) queue.push(message, release);
    if (promises === undefined) return;
    this.#busy = true;
    void Promise.all(promises).then(() => {
      this.#busy = false;
      release();
      this.#resume();
    });
  }

  #resume(): void {
    let next = 0;
    while (!this.#busy && next < this.#backlog.length) {
      const { message, size } = this.#backlog[next++]!;
      this.#handle(message, size);
    }
    this.#backlog.splice(0, next);
  }

  /** The native side asks for this once all messages before are consumed, and keeps the next ones until it is answered. */
  async #load(load: number, gap: Gap): Promise<void> {
    let position: Position | undefined;
    try {
      const { stalls } = this.#host;
      if (stalls.overdue[0] !== 0) stalls.found();
      const loader = this.#loader;
      const result = loader?.(gap);
      if (stalls.overdue[0] !== 0) stalls.found(this.name, "gap", loader);
      position = positionOf(await result);
    } catch (error) {
      this.#host.handlerFailed(error, "gap", this.name);
    } finally {
      this.#host.loaded(this.#id, load, position);
    }
  }

  #changeState(state: ChannelState, error: RealtimeError | undefined): void {
    // What was true before the application's last word is not any more.
    if (this.#wanted === (state === "idle" || state === "unsubscribing")) return;
    if (state === "failed") this.#wanted = false;
    this.#state = state;
    this.#error = error;
    if (state === "subscribed") for (const { resolve } of this.#ready.splice(0)) resolve();
    if (state === "failed") {
      const reason = error ?? new RealtimeError("refused", `the server refused channel ${quote(this.name)}`);
      this.#error = reason;
      this.#rejectReady(reason);
      for (const queue of this.#queues) queue.end(reason);
    }
    this.#emitter.emit("state", state, error);
  }

  #end(error: RealtimeError | undefined): void {
    this.#rejectReady(error ?? new RealtimeError("closed", "the client was disconnected"));
    for (const queue of this.#queues) queue.end(error);
  }

  #rejectReady(error: RealtimeError): void {
    for (const { reject } of this.#ready.splice(0)) reject(error);
  }
}

function positionOf(result: unknown): Position | undefined {
  if (result === undefined || result === null) return undefined;
  const position = (typeof result === "number" ? { offset: result } : result) as Position;
  if (!Number.isSafeInteger(position.offset) || position.offset < 0) {
    throw new TypeError("a loader must return { epoch, offset }, an offset or nothing");
  }
  if (position.epoch !== undefined && typeof position.epoch !== "string") {
    throw new TypeError("the epoch of a position must be a string");
  }
  return position;
}

function quote(name: string): string {
  return JSON.stringify(name);
}
