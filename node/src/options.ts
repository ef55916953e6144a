import { RealtimeError } from "./errors.js";

/** Where a token comes from. A function is asked afresh on every connect and reconnect. */
export type TokenProvider = () => string | null | undefined | Promise<string | null | undefined>;

/** How to come back after a connection was lost. Times in milliseconds; each retry comes at a random time within its bound. */
export interface ReconnectOptions {
  /** The first retry comes within this. Default 500. */
  first?: number;
  /** The second retry comes within this; it doubles from there. Default 3000. */
  base?: number;
  /** Retries come within at most this. Default 30000. */
  max?: number;
  /** After this many failed attempts in a row the status is `error`; probing goes on. Default 5. */
  attemptsUntilError?: number;
  /** After this many failed attempts in a row the client gives up and pending sends fail. Default never. */
  maxAttempts?: number;
}

/** The bounds of the outbox: messages that are not acknowledged yet, also while offline. */
export interface QueueOptions {
  /** Default 10000. */
  messages?: number;
  /** Default 16 MiB. */
  bytes?: number;
  /**
   * `wait` (default): sends wait for room, as many again as fit, beyond which they fail with `queue_full`.
   * `reject`: a send fails with `queue_full`. `dropOldest`: the oldest unsent message fails with `dropped`.
   */
  whenFull?: "wait" | "reject" | "dropOldest";
  /**
   * A file that makes the outbox durable: what `send` has accepted survives the end of the process and goes out, once, after the
   * next start. Each client needs a file of its own. `new` and `connect()` fail with `outbox_in_use`, `outbox_damaged` or
   * `storage_failed` where it cannot be had. Default: in memory.
   */
  path?: string;
}

/** Bounds of received bytes that handlers and loops have not consumed yet; beyond them the server has to wait. */
export interface InboxOptions {
  /** In all. Default 4 MiB. */
  bytes?: number;
  /** Per channel. Default 2 MiB. */
  channelBytes?: number;
}

/** How to connect. All times in milliseconds; everything but `url` has a default. */
export interface ClientOptions {
  /** `ws://` or `wss://`. */
  url: string;
  /** `auto` (default): `realtime.v1` where the server speaks it, otherwise `plain`, which any JSON WebSocket backend does. */
  protocol?: "auto" | "realtime.v1" | "plain";
  /** A token, or a function that gives one. */
  token?: string | TokenProvider;
  /** Where the token travels: the `Authorization` header (default), a query parameter, or only inside the protocol. */
  tokenPlacement?: "header" | "hello" | { query: string };
  /** Headers of the upgrade request. */
  headers?: Record<string, string>;
  /** Parameters added to the URL. */
  query?: Record<string, string>;
  /** Subprotocols to offer besides the client's own. */
  subprotocols?: string[];
  /** Ping every `interval` (default 30000); dead after `timeout` without any frame (default 60000). */
  heartbeat?: { interval?: number; timeout?: number };
  /** `false`: never come back by itself. */
  reconnect?: boolean | ReconnectOptions;
  queue?: QueueOptions;
  inbox?: InboxOptions;
  /** Bytes that a collection, or a presence, may take of memory; beyond, it fails with `collection_full` or `presence_full`. Default 256 MiB. */
  replicaBytes?: number;
  /** From opening the socket to connected. Default 10000. */
  connectTimeout?: number;
  /** How long a token provider may take. Default 10000. */
  tokenTimeout?: number;
  /** Fails a send that has no receipt after this long. Default never. */
  sendTimeout?: number;
  /** Messages a second that are sent at most; more are delayed. Default no limit. */
  rateLimit?: number;
  /** A file that the JSON of `dump()` is written to when an error ends the client: when it gives up, or is told not to come back. */
  errorReport?: string;
  /** Certificate authorities to trust instead of the platform's, as PEM. */
  ca?: string | Uint8Array | (string | Uint8Array)[];
  /** The URL of an HTTP proxy; `false`: none. Default `true`: from the environment (`HTTPS_PROXY`, `NO_PROXY`, …). */
  proxy?: string | boolean;
}

/** The options as the native side reads them. It knows all of them and refuses unknown ones. @internal */
export function toNative(options: ClientOptions): string {
  if (typeof options !== "object" || options === null) {
    throw new RealtimeError("invalid_option", "options must be an object such as { url: 'wss://host/path' }");
  }
  const { token, reconnect, ca, ...rest } = options;
  const all: Record<string, unknown> = { ...rest };
  if (typeof token === "function") all.tokenProvider = true;
  else if (token !== undefined) all.token = token;
  if (typeof reconnect === "boolean") all.reconnect = { enabled: reconnect };
  else if (reconnect !== undefined) all.reconnect = reconnect;
  if (ca !== undefined) all.ca = (Array.isArray(ca) ? ca : [ca]).map(pem).join("\n");
  return optionsJson(all);
}

/** @internal */
export function optionsJson(options: object): string {
  try {
    return JSON.stringify(options, check);
  } catch (error) {
    if (error instanceof RealtimeError) throw error;
    throw new RealtimeError("invalid_option", `options: ${(error as Error).message}`, { cause: error });
  }
}

/** What JSON would lose silently must not reach the native side as something else. */
function check(key: string, value: unknown): unknown {
  if (typeof value === "function" || typeof value === "symbol" || typeof value === "bigint") {
    throw new RealtimeError("invalid_option", `option ${key} must not be a ${typeof value}`);
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new RealtimeError("invalid_option", `option ${key} must be a finite number, not ${value}`);
  }
  return value;
}

function pem(ca: unknown): string {
  if (typeof ca === "string") return ca;
  if (ca instanceof Uint8Array) return Buffer.from(ca).toString("utf8");
  throw new RealtimeError("invalid_option", "option ca must be PEM text or bytes");
}
