/** A message as handlers and loops get it. */
export interface Message<Data = any, Event extends string = string> {
  /** The channel; `undefined` for a message of the backend to this client alone. */
  readonly channel: string | undefined;
  /** The event name, or the backend's type; `""` where a backend gave none. */
  readonly event: Event;
  /** The payload: what `JSON.parse` makes of it, or a `Buffer` for a binary message. Integers above 2^53 lose digits. */
  readonly data: Data;
  /** Whether the payload was sent as bytes. */
  readonly binary: boolean;
  /** The position in the channel's history (`realtime.v1`). */
  readonly offset: number | undefined;
  /** Milliseconds since the Unix epoch, where the backend said. */
  readonly timestamp: number | undefined;
  /** The user that published it, verified by the server. */
  readonly user: string | undefined;
}

/** A message of a channel. */
export interface ChannelMessage<Data = any, Event extends string = string> extends Message<Data, Event> {
  readonly channel: string;
}

/** What became of a send. */
export interface Receipt {
  /** The channel; `undefined` for a send to the backend itself. */
  readonly channel: string | undefined;
  /** The history that `offset` counts in (`realtime.v1`). */
  readonly epoch: string | undefined;
  /** The position that the message got (`realtime.v1`). */
  readonly offset: number | undefined;
  /** The server had it already, from an earlier attempt: it was not stored twice. */
  readonly duplicate: boolean;
  /** `true`: the server has it. `false`: the backend knows no acknowledgements, it was written to the socket. */
  readonly acknowledged: boolean;
}

/** A place in a channel's history, and everything up to it. */
export interface Position {
  /** The history that `offset` counts in; without one it is that of the gap. */
  readonly epoch?: string | undefined;
  readonly offset: number;
}

/** Messages of a channel that are missing and will not come: fetch anew what they would have told. */
export interface Gap {
  /**
   * `evicted`: older than the server keeps. `epoch`: the server lost its history. `missing`: the server skipped them.
   * Only for `channel.onGap`: `initial` (the subscription begins), `reconnect` (`plain`, where nobody knows).
   */
  readonly reason: "evicted" | "epoch" | "missing" | "initial" | "reconnect" | (string & {});
  /** The history that goes on. */
  readonly epoch: string;
  /** The history before, where it changed; how much of that was missed is unknown. */
  readonly previousEpoch: string | undefined;
  /** The first and last missing offset of `epoch`; `undefined` where nothing of it is missing. */
  readonly from: number | undefined;
  readonly to: number | undefined;
}
