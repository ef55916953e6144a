import { inspect } from "node:util";
import type { RealtimeError } from "./errors.js";
import { deepFreeze } from "./freeze.js";
import { encodeObject } from "./payload.js";
import { Stream, type StreamDriver, type StreamHost } from "./stream.js";

/** How available a user is. */
export type PresenceStatus = "online" | "away" | "busy";

/** What is known of a user besides what it tells of itself. */
export interface PresenceInfo {
  /** The verified user where the server knows one, else the `id` that was tracked, else a name made by the server. */
  readonly id: string;
  /** The most available of its connections. */
  readonly status: PresenceStatus;
  /** Since when it is present, by the server's clock, in milliseconds since the Unix epoch. */
  readonly joinedAt: number;
  /** When it last changed something, likewise. */
  readonly lastSeen: number;
  /** How many connections (tabs, devices, processes) it is present with. */
  readonly connections: number;
  /** Whether the server has verified who it is. */
  readonly verified: boolean;
  /** Whether one of the connections is this client's. */
  readonly isSelf: boolean;
}

/** One user who is present, however many connections it has; frozen. What it tells of itself is beside what is known of it. */
export type PresenceUser<State extends object = Record<string, any>> = Readonly<Omit<State, keyof PresenceInfo>> &
  PresenceInfo;

/** What the handlers of a presence get. */
export interface PresenceEvents<State extends object = Record<string, any>> {
  /** Somebody came. Who is there from the beginning comes with the first `sync` alone. */
  join: [user: PresenceUser<State>];
  /** Somebody changed something, or has one connection more or less. */
  update: [user: PresenceUser<State>];
  /** Somebody is gone. */
  leave: [user: PresenceUser<State>];
  /** After each of these, and once all that are present are known. */
  sync: [users: readonly PresenceUser<State>[]];
  /** The server refuses to let this client watch, or what was not awaited failed. Without a handler it goes to the client's `error`. */
  error: [error: RealtimeError];
}

/** Opens the inside of a presence to its client alone. @internal */
export const presenceDrivers = new WeakMap<RealtimePresence<any>, StreamDriver>();

/**
 * Who is present in a channel; `channel.presence`. Watching does not make present, and begins with the first handler, `users`,
 * `ready()` or `track()`.
 */
export class RealtimePresence<State extends object = Record<string, any>> extends Stream<PresenceEvents<State>> {
  readonly #channel: string;
  readonly #members = new Map<string, PresenceUser<State>>();
  #users: readonly PresenceUser<State>[] | undefined;

  /** @internal */
  constructor(channel: string, number: number, host: StreamHost) {
    super(channel, "the presence", number, host);
    this.#channel = channel;
    presenceDrivers.set(this, {
      stateChanged: (state, error) => this.stateChanged(state, error),
      ended: (error) => this.ended(error),
      presence: (told, size) => this.#take(told, size),
    });
  }

  /**
   * Who is present, in the order in which they came; the same frozen array until something changes. Empty until it is known:
   * `ready()` waits for that. While the connection is lost it stays as it was.
   */
  get users(): readonly PresenceUser<State>[] {
    this.watch();
    return (this.#users ??= Object.freeze([...this.#members.values()].sort(byArrival)));
  }

  /** How many users have the status `online`; `users.length` counts those who are away or busy, too. */
  get onlineCount(): number {
    return this.users.reduce((count, { status }) => count + (status === "online" ? 1 : 0), 0);
  }

  /** The user with this id; of two with the same the verified one. */
  get(id: string): PresenceUser<State> | undefined {
    this.watch();
    return this.#members.get(placeOf(true, id)) ?? this.#members.get(placeOf(false, id));
  }

  /** Whether this client is present, or will be as soon as it is connected. */
  get isTracked(): boolean {
    return this.host.native.isTracked(this.number);
  }

  /**
   * Makes this client present, until `untrack()`, `close()` or `disconnect()`. Resolves once it is.
   *
   * `user` is anything that JSON carries, up to 16 KiB. Its `id` says who it is: clients with the same id are one user. A server
   * that knows who connects (a token) takes that instead, and says so (`verified`). Tracking again replaces what was tracked.
   * After a reconnect the client is present again by itself; within the grace period (10 seconds, the server's setting)
   * nobody notices that it was gone.
   */
  track(
    user: Omit<State, keyof PresenceInfo> & { id?: string | number } = {} as State,
    { status = "online" }: { status?: PresenceStatus } = {},
  ): Promise<void> {
    return this.#request((request) => {
      const { id, ...state } = user;
      this.watch();
      const key = typeof id === "number" ? String(id) : (id ?? null);
      this.host.native.track(request, this.number, key, status, encodeObject(state));
    });
  }

  /** Changes some fields of what is tracked. Fails with `not_tracked` where nothing is. */
  update(patch: Partial<Omit<State, keyof PresenceInfo>>): Promise<void> {
    return this.#request((request) => {
      this.host.native.updatePresence(request, this.number, null, encodeObject(patch));
    });
  }

  /** Changes the status. Fails with `not_tracked` where nothing is tracked. */
  updateStatus(status: PresenceStatus): Promise<void> {
    return this.#request((request) => this.host.native.updatePresence(request, this.number, status, null));
  }

  /** Ends being present. Idempotent. */
  untrack(): Promise<void> {
    return this.#request((request) => this.host.native.untrack(request, this.number));
  }

  /** Untracks, and stops to watch. What was seen stays as it was; using it again watches again. */
  close(): void {
    if (this.isTracked) void this.untrack();
    this.unwatch();
  }

  /** @internal */
  [inspect.custom](): string {
    return `RealtimePresence { channel: ${JSON.stringify(this.#channel)}, users: ${this.#members.size} }`;
  }

  /** @internal */
  protected override listened(event: string): void {
    if (event !== "error") this.watch();
  }

  #request(make: (request: number) => void): Promise<void> {
    return this.host.outbox.request(make, { value: () => undefined, unseen: this.unseen });
  }

  #take(told: Told<State>, size: number): void {
    const first = !this.isSynced;
    const events: [event: "join" | "update" | "leave", user: PresenceUser<State>][] = [];
    for (const event of ["leave", "update", "join"] as const) {
      for (const each of told[event] ?? []) {
        const user = userOf(each);
        const place = placeOf(user.verified, user.id);
        if (event === "leave") this.#members.delete(place);
        else this.#members.set(place, user);
        events.push([event, user]);
      }
    }
    if (events.length > 0) this.#users = undefined;
    if (told.sync) this.synced();
    const whole = this.isSynced;
    this.tell((emitter) => {
      let promises: Promise<unknown>[] | undefined;
      const emit = (event: string, value: unknown): void => {
        const more = emitter.emit(event, value);
        if (more !== undefined) promises = [...(promises ?? []), ...more];
      };
      if (!first) for (const [event, user] of events) emit(event, user);
      if (whole && emitter.count("sync") > 0) emit("sync", this.users);
      return promises;
    }, size);
  }
}

interface Told<State> {
  join?: Member<State>[];
  update?: Member<State>[];
  leave?: Member<State>[];
  sync?: boolean;
}

interface Member<State> extends Omit<PresenceInfo, "isSelf"> {
  state: State;
  self: boolean;
}

function userOf<State extends object>({ state, self, ...info }: Member<State>): PresenceUser<State> {
  return deepFreeze({ ...state, ...info, isSelf: self }) as PresenceUser<State>;
}

function placeOf(verified: boolean, id: string): string {
  return (verified ? "v" : "u") + id;
}

function byArrival(a: PresenceInfo, b: PresenceInfo): number {
  return a.joinedAt - b.joinedAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}
