import { inspect } from "node:util";
import { RealtimeChannel, drivers, type ChannelDriver, type Host } from "./channel.js";
import {
  RESERVED,
  type ClientEventName,
  type ClientHandler,
  type CloseInfo,
  type OpenInfo,
  type StatusDetail,
} from "./client-events.js";
import { RealtimeCollection, collectionDrivers } from "./collection.js";
import { Consumption } from "./consumption.js";
import { Emitter, type Handler } from "./emitter.js";
import { RealtimeError, describe, fromNative, native, stackOf, type NativeError } from "./errors.js";
import { drain, type Incoming, type Report, type Sink } from "./inbox.js";
import type { ChannelMessage, Gap, Message, Receipt } from "./message.js";
import { KeepAlive } from "./keep-alive.js";
import { nativeModule, type NativeClient } from "./native.js";
import { toNative, type ClientOptions, type TokenProvider } from "./options.js";
import { Outbox, checkName } from "./outbox.js";
import { RealtimePresence, presenceDrivers } from "./presence.js";
import { Stalls } from "./stalls.js";
import type { Dump, Stats, Status } from "./stats.js";
import type { StreamDriver, StreamHost } from "./stream.js";

/** How long `disconnect()` waits for receipts. */
const FLUSH_MS = 5000;
/** Batches taken in one turn of the event loop. */
const BATCHES_PER_TURN = 4;

interface Waiter {
  resolve: () => void;
  reject: (error: RealtimeError) => void;
}

/** A connection that stays: it reconnects, resubscribes, recovers what was missed, and sends again what was not acknowledged. */
export class WebSocketClient<Events extends object = Record<string, any>> {
  readonly url: string;
  readonly #native: NativeClient;
  readonly #emitter: Emitter;
  readonly #outbox: Outbox;
  readonly #token: TokenProvider | undefined;
  readonly #channels = new Map<string, RealtimeChannel<any, any>>();
  readonly #byId: { channel: RealtimeChannel<any, any>; driver: ChannelDriver }[] = [];
  /** Presences and collections, by id. */
  readonly #streams: StreamDriver[] = [];
  readonly #connecting: Waiter[] = [];
  readonly #disconnecting: Waiter[] = [];
  readonly #warned = new Set<string>();
  /** Messages whose payload was no JSON, which only the parser here has found. */
  #malformed = 0;
  readonly #host: Host;
  readonly #sink: Sink;
  readonly #consumption: Consumption;
  readonly #stalls: Stalls;
  #status: Status = "disconnected";
  /** Not connected, and not trying. */
  #ended = true;
  readonly #keepAlive = new KeepAlive(this);

  constructor(options: ClientOptions) {
    const json = toNative(options);
    this.url = options.url;
    this.#token = typeof options.token === "function" ? options.token : undefined;
    const wake = WebSocketClient.#waker(new WeakRef(this));
    this.#native = native(() => new (nativeModule().Client)(json, wake));
    this.#stalls = new Stalls(this.#native);
    this.#emitter = new Emitter((error, event) => this.#handlerFailed(error, event, undefined), this.#stalls);
    this.#consumption = new Consumption(this.#native);
    this.#outbox = new Outbox(this.#native, options.queue ?? {}, (error) => this.#reportError(error));
    this.#host = {
      stalls: this.#stalls,
      subscribe: (name) => void native(() => this.#native.subscribe(name)),
      unsubscribe: (id) => this.#native.unsubscribe(id),
      send: (channel, id, event, payload) => this.#outbox.send(channel, id, event, payload),
      loadOn: (id, gaps, initial) => native(() => this.#native.loadOn(id, gaps, initial)),
      loaded: (id, load, position) => this.#native.loaded(id, load, position?.epoch ?? null, position?.offset ?? null),
      consumed: (id, bytes) => this.#consumption.add(id, bytes),
      presence: (channel) => {
        const id = native(() => this.#native.presence(channel));
        const presence = new RealtimePresence<any>(channel, id, streams);
        this.#streams[id] = presenceDrivers.get(presence)!;
        return presence;
      },
      collection: (channel, name) => {
        checkName("collection", name);
        const id = native(() => this.#native.collection(channel, name));
        const collection = new RealtimeCollection<any>(channel, name, id, streams);
        this.#streams[id] = collectionDrivers.get(collection)!;
        return collection;
      },
      handlerFailed: (error, event, channel) => this.#handlerFailed(error, event, `channel ${JSON.stringify(channel)}`),
    };
    const streams: StreamHost = {
      stalls: this.#stalls,
      native: this.#native,
      outbox: this.#outbox,
      consumed: (id, bytes) => this.#consumption.add(id, bytes),
      handlerFailed: (error, event, where) => this.#handlerFailed(error, event, where),
      reportError: (error) => this.#reportError(error),
    };
    this.#sink = {
      message: (message) => this.#dispatch(message),
      receipt: (request, epoch, offset, duplicate, ack) => this.#outbox.succeed(request, epoch, offset, duplicate, ack),
      failed: (request, error) => this.#outbox.fail(request, error),
      change: (change) => this.#streams[change.stream]?.change?.(change),
      presence: (stream, told, size) => this.#streams[stream]?.presence?.(told, size),
      report: (report) => this.#take(report),
      malformed: (error, channel, size) => {
        this.#malformed++;
        this.#consumption.add(channel, size);
        this.#reportError(error);
      },
    };
  }

  /** Changes between turns of the event loop only, always together with a `status` event. */
  get status(): Status {
    return this.#status;
  }

  /** Whether the connection is there, and proven to be alive. */
  get isConnected(): boolean {
    return this.#status === "connected";
  }

  /**
   * Connects, and stays so. Resolves once connected. Rejects once the status is `error` (after five failed attempts,
   * and the client goes on trying; or at once where the server forbids to come back). Each failed attempt is an `error` event.
   */
  connect(): Promise<void> {
    if (this.#disconnecting.length > 0) return this.disconnect().then(() => this.connect());
    const promise = new Promise<void>((resolve, reject) => this.#connecting.push({ resolve, reject }));
    // Whoever does not wait hears of it on "error" and "status".
    promise.catch(() => {});
    try {
      native(() => this.#native.connect());
      this.#keepAlive.hold();
      if (this.isConnected) this.#settle(this.#connecting);
      else if (this.#ended) this.#status = "connecting";
      this.#ended = false;
    } catch (error) {
      this.#settle(this.#connecting, error as RealtimeError);
    }
    return promise;
  }

  /**
   * Disconnects. Where connected it waits up to five seconds for the receipts of what was sent; what is left fails
   * with `closed`, or with `deferred` where `queue.path` keeps it.
   */
  disconnect(): Promise<void> {
    if (this.#status === "disconnected") {
      // Also where it was never connected: another client may have the file then.
      if (this.#outbox.isDurable) native(() => this.#native.disconnect(0));
      return Promise.resolve();
    }
    this.#outbox.flush();
    const promise = new Promise<void>((resolve, reject) => this.#disconnecting.push({ resolve, reject }));
    // Also where the client had ended already: somebody waits for this.
    this.#keepAlive.hold();
    this.#native.disconnect(FLUSH_MS);
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }

  /** The channel with this name; always the same one. */
  channel<ChannelMessages extends object = Record<string, any>, User extends object = Record<string, any>>(
    name: string,
  ): RealtimeChannel<ChannelMessages, User> {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      checkName("channel", name);
      const id = native(() => this.#native.channel(name));
      channel = new RealtimeChannel(name, id, this.#host);
      this.#channels.set(name, channel);
      this.#byId[id] = { channel, driver: drivers.get(channel)! };
    }
    return channel as RealtimeChannel<ChannelMessages, User>;
  }

  /** Adds a handler; the function that it returns removes it again. What a handler throws is reported on `error`. */
  on<K extends ClientEventName<Events>>(event: K, handler: ClientHandler<Events, K>): () => void {
    return this.#emitter.add(event, handler as Handler);
  }

  /** Adds a handler for the next time only. */
  once<K extends ClientEventName<Events>>(event: K, handler: ClientHandler<Events, K>): () => void {
    return this.#emitter.add(event, handler as Handler, true);
  }

  /** Removes a handler, or all of an event. */
  off<K extends ClientEventName<Events>>(event: K, handler?: ClientHandler<Events, K>): this {
    this.#emitter.remove(event, handler as Handler | undefined);
    return this;
  }

  listenerCount(event: ClientEventName<Events>): number {
    return this.#emitter.count(event);
  }

  /** Sends a message to the backend itself. Bytes travel as a binary message, without the type. */
  send<K extends string>(type: K, payload: K extends keyof Events ? Events[K] : unknown): Promise<Receipt> {
    return this.#outbox.send(undefined, "-", type, payload);
  }

  /** Sends bytes to the backend itself. */
  sendBinary(bytes: Uint8Array | ArrayBuffer): Promise<Receipt> {
    return this.#outbox.sendBinary(bytes);
  }

  /** Figures of this client, from its beginning. */
  getStats(): Stats {
    const stats = JSON.parse(this.#native.stats()) as Stats;
    const moment = (at: number | null): number | null => (at === null ? null : Math.round(at));
    return {
      ...stats,
      malformed: stats.malformed + this.#malformed,
      connectedAt: moment(stats.connectedAt),
      nextAttempt: moment(stats.nextAttempt),
      queued: stats.queued + this.#outbox.waiting,
    };
  }

  /**
   * What the client is and did last, for a report of something that went wrong: its state, its channels, and the last 512
   * entries of a flight recorder that is always on (changes of state, frames, timers, calls). It can be written as JSON, and
   * holds no payload, token, URL or session id, but channel names.
   */
  dump(): Dump {
    return JSON.parse(this.#native.dump()) as Dump;
  }

  /** Lets the process exit while the client is open. */
  unref(): this {
    this.#keepAlive.unref();
    return this;
  }

  /** An open client keeps the process alive, like a socket: this is the default. */
  ref(): this {
    this.#keepAlive.ref();
    return this;
  }

  /** @internal */
  [inspect.custom](): string {
    return `WebSocketClient { url: ${JSON.stringify(this.url)}, status: "${this.#status}" }`;
  }

  /** The native side must not keep an abandoned client from being collected: a scope of its own, without `this`. */
  static #waker(client: WeakRef<WebSocketClient<any>>): () => void {
    return () => {
      const alive = client.deref();
      if (alive !== undefined) alive.#drain();
    };
  }

  /** Called once per batch, not once per message. */
  #drain(): void {
    let more = true;
    try {
      for (let batch = 0; more && batch < BATCHES_PER_TURN; batch++) more = drain(this.#native, this.#sink);
    } finally {
      // Timers and other sockets get their turn in between. Also after a fault: nothing else would wake this client any more.
      if (more) setImmediate(() => this.#drain());
      this.#consumption.report();
    }
  }

  #dispatch({ channel: id, event, data, binary, offset, timestamp, user, size, implied }: Incoming): void {
    const target = id < 0 ? undefined : this.#byId[id];
    const message: Message = { channel: target?.channel.name, event, data, binary, offset, timestamp, user };
    if (!implied && this.#emitter.count("message") > 0) this.#emitter.emit("message", message);
    if (target !== undefined) return target.driver.deliver(message as ChannelMessage, size);
    if (binary) this.#emitter.emit("binary", data, message);
    else if (!RESERVED.has(event)) this.#emitter.emit(event, data, message);
    this.#consumption.add(id, size);
  }

  #take(report: Report): void {
    switch (report.type) {
      case "status":
        return this.#changeStatus(
          report.status,
          errorOf(report.error),
          report.retryIn === undefined ? undefined : Math.ceil(report.retryIn),
        );
      case "open": {
        const { dialect, connection, resumed, user } = report;
        const info: OpenInfo = { dialect, connection: connection ?? undefined, resumed, user: user ?? undefined };
        return void this.#emitter.emit("open", info);
      }
      case "close": {
        const info: CloseInfo = { code: report.code, reason: report.reason, reconnecting: report.reconnecting };
        return void this.#emitter.emit("close", info);
      }
      case "error":
        return this.#reportError(fromNative(report.error));
      case "channel": {
        const driver = this.#byId[report.channel]?.driver ?? this.#streams[report.channel];
        return driver?.stateChanged(report.state, errorOf(report.error));
      }
      case "synced":
        return this.#streams[report.channel]?.synced?.(report.reason);
      case "diverged":
        return this.#streams[report.channel]?.diverged?.(report.offset);
      case "gap":
        return this.#byId[report.channel]?.driver.gap(gapOf(report));
      case "load":
        return void this.#byId[report.channel]?.driver.load(report.load, gapOf(report));
      case "writable":
        return this.#outbox.resume();
      case "token":
        return void this.#answerToken(report.request);
      case "stalled":
        return void this.#emitter.emit("stalled", Math.round(report.duration), this.#stalls.take());
    }
  }

  #changeStatus(status: Status, reason: RealtimeError | undefined, retryIn: number | undefined): void {
    this.#status = status;
    this.#ended = status === "disconnected" || (status === "error" && retryIn === undefined);
    if (this.#ended) {
      this.#keepAlive.release();
      this.#outbox.end(reason);
      for (const driver of this.#drivers()) driver.ended(status === "error" ? reason : undefined);
    }
    if (status === "connected") this.#settle(this.#connecting);
    else if (status === "error")
      this.#settle(this.#connecting, reason ?? new RealtimeError("connect_failed", "not connected"));
    else if (status === "disconnected") {
      this.#settle(
        this.#connecting,
        reason ?? new RealtimeError("closed", "disconnect() was called before the client was connected"),
      );
    }
    if (this.#ended) this.#settle(this.#disconnecting);
    this.#emitter.emit("status", status, { reason, retryIn } satisfies StatusDetail);
  }

  *#drivers(): Iterable<ChannelDriver | StreamDriver> {
    for (const entry of this.#byId) if (entry !== undefined) yield entry.driver;
    for (const stream of this.#streams) if (stream !== undefined) yield stream;
  }

  #settle(waiters: Waiter[], error?: RealtimeError): void {
    for (const { resolve, reject } of waiters.splice(0)) {
      if (error === undefined) resolve();
      else reject(error);
    }
  }

  async #answerToken(request: number): Promise<void> {
    try {
      const token = (await this.#token?.()) ?? null;
      if (token !== null && typeof token !== "string") throw new TypeError(`it gave a ${typeof token}, not a string`);
      this.#native.answerToken(request, token, null);
    } catch (error) {
      this.#native.answerToken(request, null, describe(error));
    }
  }

  #handlerFailed(cause: unknown, event: string, of: string | undefined): void {
    const where = of === undefined ? JSON.stringify(event) : `${JSON.stringify(event)} of ${of}`;
    const message = `a handler of ${where} threw: ${describe(cause)}`;
    const error = new RealtimeError("handler_failed", message, { cause });
    // A failing "error" handler must not be given its own failure again.
    if (event === "error" && of === undefined) this.#warn(error);
    else this.#reportError(error);
  }

  #reportError(error: RealtimeError): void {
    if (this.#emitter.count("error") > 0) this.#emitter.emit("error", error);
    else this.#warn(error);
  }

  /** Nobody listens to "error": a warning of the process, once per kind. */
  #warn(error: RealtimeError): void {
    if (this.#warned.has(error.code)) return;
    this.#warned.add(error.code);
    const detail = stackOf(error.cause);
    process.emitWarning(`${error.message} (listen to "error" to handle this; warned once per code)`, {
      type: "RealtimeWarning",
      code: error.code,
      ...(detail === undefined ? {} : { detail }),
    });
  }
}

function gapOf({ reason, epoch, previousEpoch, from, to }: Report): Gap {
  return {
    reason,
    epoch,
    previousEpoch: previousEpoch ?? undefined,
    from: from ?? undefined,
    to: to ?? undefined,
  };
}

function errorOf(error: NativeError | null | undefined): RealtimeError | undefined {
  return error == null ? undefined : fromNative(error);
}
