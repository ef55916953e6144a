import type { RealtimeChannel } from "./channel.js";
import type { ClientEventName, ClientHandler } from "./client-events.js";
import { WebSocketClient } from "./client.js";
import type { Handler } from "./emitter.js";
import { RealtimeError } from "./errors.js";
import type { ClientOptions } from "./options.js";
import type { Status } from "./stats.js";

/** One connection for a whole program: initialise it once, use it from everywhere. */
export class RealtimeManager {
  #client: WebSocketClient | undefined;
  /** Handlers that were added before `initialize`; the removers are filled in by it. */
  readonly #handlers = new Set<{ event: string; handler: Handler; remove?: () => void }>();

  /** Makes the connection and begins to connect. Again with the same URL it does nothing; with another one it moves there. */
  initialize(url: string, options: Omit<ClientOptions, "url"> = {}): WebSocketClient {
    if (this.#client?.url === url && this.#client.status !== "disconnected") return this.#client;
    const client = new WebSocketClient({ ...options, url });
    void this.#client?.disconnect();
    this.#client = client;
    for (const entry of this.#handlers) entry.remove = client.on(entry.event, entry.handler);
    void client.connect();
    return client;
  }

  /** The client, once initialised. */
  get client(): WebSocketClient | undefined {
    return this.#client;
  }

  get status(): Status {
    return this.#client?.status ?? "disconnected";
  }

  get isConnected(): boolean {
    return this.#client?.isConnected ?? false;
  }

  /** The channel with this name of the connection. */
  channel<Events extends object = Record<string, any>, User extends object = Record<string, any>>(
    name: string,
  ): RealtimeChannel<Events, User> {
    if (this.#client === undefined) {
      throw new RealtimeError("closed", "the manager has no connection: call initialize(url) first");
    }
    return this.#client.channel<Events, User>(name);
  }

  /** Adds a handler, before or after `initialize`; it stays over another `initialize`. The function it returns removes it. */
  on<K extends ClientEventName<Record<string, any>>>(
    event: K,
    handler: ClientHandler<Record<string, any>, K>,
  ): () => void {
    const entry: { event: string; handler: Handler; remove?: () => void } = { event, handler: handler as Handler };
    const remove = this.#client?.on(event, handler);
    if (remove !== undefined) entry.remove = remove;
    this.#handlers.add(entry);
    return () => {
      this.#handlers.delete(entry);
      entry.remove?.();
    };
  }

  /** Disconnects; `initialize` starts anew. */
  async disconnect(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.disconnect();
  }
}

/** The manager of this process. */
export const realtimeManager: RealtimeManager = new RealtimeManager();
