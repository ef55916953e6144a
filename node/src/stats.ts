/** What a client is doing. `error`: several attempts failed and it goes on probing, or it was told not to come back. */
export type Status = "connecting" | "connected" | "disconnected" | "reconnecting" | "error";

/** How good the connection is, from round trip, jitter and missed pongs. */
export type Quality = "excellent" | "good" | "fair" | "poor" | "offline";

/** What a client is and did last; see `client.dump()`. Times in milliseconds since the Unix epoch. */
export interface Dump {
  readonly version: 1;
  readonly now: number;
  readonly status: Status;
  /** `idle`, `token`, `opening`, `handshake`, `connected`, `waiting` or `stopped`. */
  readonly phase: string;
  readonly channels: readonly { readonly id: number; readonly name: string; readonly [field: string]: unknown }[];
  /** How many entries there ever were; the last ones are here, the oldest first. */
  readonly recorded: number;
  readonly entries: readonly { readonly at: number; readonly what: string; readonly [field: string]: unknown }[];
  readonly [field: string]: unknown;
}

/** Figures of a client, from its beginning. Times in milliseconds. */
export interface Stats {
  status: Status;
  /** Since when it is connected, in milliseconds since the Unix epoch. */
  connectedAt: number | null;
  /** The last round trip of a ping. */
  latency: number | null;
  /** How much round trips vary. */
  jitter: number | null;
  quality: Quality;
  /** Messages written to a socket; those sent again count again. */
  messagesSent: number;
  /** Messages given to handlers and loops. */
  messagesReceived: number;
  bytesSent: number;
  bytesReceived: number;
  /** Sends that ended with a receipt, and with an error. */
  acknowledged: number;
  failed: number;
  /** Sends of an earlier run, or of before a disconnect, that were found in the file of `queue.path`. */
  restored: number;
  /** Sends that failed with `deferred`: the file of `queue.path` keeps them. */
  deferred: number;
  /** Bytes at the end of that file that were not whole, and were put aside. */
  tornBytes: number;
  /** Messages that came again and were dropped. */
  duplicates: number;
  gaps: number;
  /** Messages that were dropped because a snapshot, loaded by `channel.onGap`, contains them. */
  covered: number;
  /** Messages that came after a reconnect from the server's history. */
  recovered: number;
  /** Times that a collection was not equal to the server's, and was fetched anew. */
  diverged: number;
  /** Messages for channels that are not subscribed any more. */
  unroutable: number;
  /** Messages that could not be understood; each is an `error` event. */
  malformed: number;
  /** Answers to sends that had ended already; dropped. */
  unexpected: number;
  /** Times that a connection was made after the first. */
  reconnects: number;
  /** Failed attempts in a row. */
  failedAttempts: number;
  /** Messages without a receipt yet, and their bytes. */
  queued: number;
  queuedBytes: number;
  /** Received bytes that handlers and loops have not consumed. */
  unconsumedBytes: number;
  /** When the next attempt comes, in milliseconds since the Unix epoch. */
  nextAttempt: number | null;
}
