import type { RealtimeError } from "./errors.js";
import type { Message } from "./message.js";
import type { StalledHandler } from "./stalls.js";
import type { Status } from "./stats.js";

/** A connection that is ready. */
export interface OpenInfo {
  /** `realtime.v1` or `plain`. */
  readonly dialect: "realtime.v1" | "plain" | (string & {});
  /** The server's id of the connection (`realtime.v1`). */
  readonly connection: string | undefined;
  /** Whether the server still knew this client from before. */
  readonly resumed: boolean;
  /** The verified user. */
  readonly user: string | undefined;
}

/** A connection that was open and is gone. */
export interface CloseInfo {
  readonly code: number;
  readonly reason: string;
  readonly reconnecting: boolean;
}

/** Why the status is what it is. */
export interface StatusDetail {
  readonly reason: RealtimeError | undefined;
  /** Milliseconds until the next attempt. */
  readonly retryIn: number | undefined;
}

/** The client's own events; a backend's type with such a name arrives under `message` only. */
export interface ClientEvents {
  open: [info: OpenInfo];
  close: [info: CloseInfo];
  status: [status: Status, detail: StatusDetail];
  /** Something went wrong that belongs to no awaited send: the client goes on. */
  error: [error: RealtimeError];
  /** A binary message of the backend to this client. */
  binary: [data: Buffer, message: Message<Buffer>];
  /**
   * The event loop was blocked for `duration` milliseconds, a second or more; `handler` says in which handler, where that is
   * known: in its code up to the first `await`. The connection does not notice: pings are answered meanwhile.
   */
  stalled: [duration: number, handler: StalledHandler | undefined];
  /** Every message: of the backend, and of all channels. */
  message: [message: Message];
}

/** The handler of an event: one of the client's own, or a message type of the backend. */
export type ClientHandler<Events extends object, K> = K extends keyof ClientEvents
  ? (...args: ClientEvents[K]) => unknown
  : K extends keyof Events & string
    ? (payload: Events[K], message: Message<Events[K], K>) => unknown
    : never;

/** The events that a client can have handlers for. */
export type ClientEventName<Events extends object> = keyof ClientEvents | (keyof Events & string);

/** @internal */
export const RESERVED: ReadonlySet<string> = new Set([
  "open",
  "close",
  "status",
  "error",
  "binary",
  "stalled",
  "message",
] satisfies (keyof ClientEvents)[]);
