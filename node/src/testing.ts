import { native, translate } from "./errors.js";
import { optionsJson } from "./options.js";
import { nativeModule, type NativeProxy, type NativeServer } from "./native.js";
import { encodeBinary, encodeJson } from "./payload.js";

/** How the server runs. Every field has a default; times in milliseconds. */
export interface ServerOptions {
  /** Default 0: a free one. */
  port?: number;
  /** Default `127.0.0.1`. */
  host?: string;
  /** Paths that clients may connect to. Default `/`. */
  paths?: string[];
  /** Origins of browsers that may connect. Default all. */
  allowedOrigins?: string[];
  /** Answers what clients send to the server itself with the same message. Default `false`: refused with `no_handler`. */
  echo?: boolean;
  /** Tokens: a shared secret, or JWTs by HS256 secret or RS256 public key (PEM). Default: none are asked for. */
  tokenSecret?: string;
  jwtSecret?: string;
  jwtPublicKey?: string;
  jwtAudience?: string;
  jwtIssuer?: string;
  /** Both as PEM: then the URL is `wss://`. */
  tlsCertificate?: string;
  tlsKey?: string;
  /** A directory where histories and receipts outlive the server. Default: in memory. */
  data?: string;
  maxConnections?: number;
  maxChannels?: number;
  maxInflight?: number;
  maxPayload?: number;
  maxFrame?: number;
  /** Messages a second of a connection. Default 0: no limit. */
  rate?: number;
  /** What a channel keeps for clients that come back. */
  historyMessages?: number;
  historyBytes?: number;
  historyAge?: number;
  heartbeat?: number;
  timeout?: number;
  handshakeTimeout?: number;
  writeTimeout?: number;
  /** How long a client that is not connected still counts as present. Default 10 s. */
  presenceGrace?: number;
  /** At most one message of presence changes in this time, for each channel. Default 50 ms. */
  presenceInterval?: number;
  presenceMembers?: number;
  collectionRecords?: number;
  collectionBytes?: number;
}

/** A server inside this process, for tests: the same one as `realtime serve`. */
export class RealtimeServer {
  readonly #options: ServerOptions;
  #native: NativeServer;
  #url: string | undefined;

  constructor(options: ServerOptions = {}) {
    this.#options = { ...options };
    this.#native = this.#make();
  }

  /** Where it listens; only while it is started. */
  get url(): string {
    if (this.#url === undefined) throw new Error("the server is not started: await server.start() first");
    return this.#url;
  }

  /** Starts it. After a stop it is a new server that knows what `data` holds, on the same port. */
  async start(): Promise<this> {
    const url = await this.#native.start().catch(rethrow);
    this.#url = url;
    this.#options.port = Number(new URL(url).port);
    return this;
  }

  /** Stops it: connections are closed, and the history is gone, but for what `data` holds. */
  async stop(): Promise<void> {
    this.#url = undefined;
    await this.#native.stop().catch(rethrow);
    this.#native = this.#make();
  }

  /** Publishes as the server itself, and returns the offset of the message. */
  publish(channel: string, event: string, payload: unknown): number {
    return native(() => this.#native.publish(channel, event, encode(payload)));
  }

  /** Sends a message to every client, outside of any channel, and returns to how many. */
  sendToAll(type: string, payload: unknown): number {
    return native(() => this.#native.sendToAll(type, encode(payload)));
  }

  /** Closes every connection, by default with 4000, after which clients come back. */
  disconnectAll(code = 4000): void {
    native(() => this.#native.disconnectAll(code));
  }

  /** Clients that are connected. */
  get connectionCount(): number {
    return native(() => this.#native.connectionCount());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #make(): NativeServer {
    return native(() => new (nativeModule().Server)(optionsJson(this.#options)));
  }
}

/** Stands between clients and a server, and breaks the connection on demand. */
export class FaultProxy {
  readonly #native: NativeProxy;
  #url: string | undefined;

  /** `target` is the URL of the server, `ws://host:port`. */
  constructor(target: string) {
    this.#native = native(() => new (nativeModule().Proxy)(target));
  }

  /** Where clients connect; only while it is started. */
  get url(): string {
    if (this.#url === undefined) throw new Error("the proxy is not started: await proxy.start() first");
    return this.#url;
  }

  async start(): Promise<this> {
    this.#url = await this.#native.start().catch(rethrow);
    return this;
  }

  async stop(): Promise<void> {
    this.#url = undefined;
    await this.#native.stop().catch(rethrow);
  }

  /** Kills all connections and refuses new ones until `restore()`. */
  cut(): void {
    native(() => this.#native.cut());
  }

  /** Kills the connections that are there; new ones are accepted. */
  cutConnections(): void {
    native(() => this.#native.cutConnections());
  }

  /** Moves no more bytes without closing anything, until `restore()`: a half-open connection. */
  stall(): void {
    native(() => this.#native.stall());
  }

  /** Adds so many milliseconds each way. */
  delay(ms: number): void {
    native(() => this.#native.delay(ms));
  }

  limit(bytesPerSecond: number): void {
    native(() => this.#native.limit(bytesPerSecond));
  }

  /** Cuts the current or next connection after so many more bytes from the server. */
  dropAfter(bytes: number): void {
    native(() => this.#native.dropAfter(bytes));
  }

  /** Ends all faults. */
  restore(): void {
    native(() => this.#native.restore());
  }

  /** Connections so far. */
  get connections(): number {
    return native(() => this.#native.connections());
  }

  /** Connections killed so far. */
  get cuts(): number {
    return native(() => this.#native.cuts());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function encode(payload: unknown): string | Buffer {
  return encodeBinary(payload) ?? encodeJson(payload);
}

function rethrow(error: unknown): never {
  throw translate(error);
}
