import { inspect } from "node:util";
import { native, type RealtimeError } from "./errors.js";
import { deepFreeze } from "./freeze.js";
import { checkName } from "./outbox.js";
import { encodeObject } from "./payload.js";
import { Stream, type IncomingChange, type StreamDriver, type StreamHost } from "./stream.js";
import { View } from "./view.js";

/** A record to be inserted: its `id` may be left to the client. */
export type NewRecord<T extends { id: string }> = T extends unknown ? Omit<T, "id"> & { id?: T["id"] } : never;

/** Fields of a record to be changed. */
export type Patch<T extends { id: string }> = T extends unknown ? Partial<Omit<T, "id">> : never;

/** How `collection.data` has changed. */
export interface CollectionChange<T extends { id: string } = AnyRecord> {
  readonly kind: "insert" | "update" | "delete";
  readonly id: string;
  /** The record as it is shown now; `undefined` where it is gone. */
  readonly record: Readonly<T> | undefined;
  /** The record as it was shown before; `undefined` where there was none. */
  readonly old: Readonly<T> | undefined;
  /** Whether this client caused it. */
  readonly local: boolean;
  /** Whether a change of this client failed, and is taken back. */
  readonly rollback: boolean;
  /** Which change of the collection the server's record is as of; `undefined` while the server does not have it. */
  readonly revision: number | undefined;
}

/** Why a collection has synced: the first time, after a reconnect, or because records were not equal. */
export type SyncReason = "initial" | "resync" | "diverged" | (string & {});

/** What the handlers of a collection get. */
export interface CollectionEvents<T extends { id: string }> {
  /** A record is new in `data`. What is there from the beginning comes with the first `sync` alone. */
  insert: [record: Readonly<T>, change: CollectionChange<T>];
  /** A record is another. */
  update: [record: Readonly<T>, change: CollectionChange<T>];
  /** A record is gone; as it was. */
  delete: [record: Readonly<T>, change: CollectionChange<T>];
  /** Each of these. */
  change: [change: CollectionChange<T>];
  /** No change of this record is on its way any more (`isPending`): the server has it, or refused it. */
  settled: [id: string];
  /** What the server has is here. */
  sync: [data: readonly Readonly<T>[], reason: SyncReason];
  /** Records are not equal to those of the server, which must not happen; they are fetched anew. */
  diverged: [offset: number];
  /** The server refuses the collection, or a change that was not awaited has failed. Without a handler it goes to the client's `error`. */
  error: [error: RealtimeError];
}

/** A record of which nothing is known but its id. */
export type AnyRecord = { id: string } & Record<string, any>;

/** Opens the inside of a collection to its client alone. @internal */
export const collectionDrivers = new WeakMap<RealtimeCollection<any>, StreamDriver>();

/**
 * Records with an id that are kept equal everywhere; `channel.collection(name)`.
 *
 * What is inserted, updated and removed here is in `data` at once, and at the server as soon as there is a connection. Where it
 * fails, `data` is as if it had not been. `data` and its records are frozen.
 */
export class RealtimeCollection<T extends { id: string } = AnyRecord> extends Stream<CollectionEvents<T>> {
  readonly name: string;
  readonly #channel: string;
  readonly #view = new View<Readonly<T>>();
  /** The records that have changes on their way, and how many. */
  readonly #pending = new Map<string, number>();

  /** @internal */
  constructor(channel: string, name: string, number: number, host: StreamHost) {
    super(channel, `the collection ${JSON.stringify(name)}`, number, host);
    this.#channel = channel;
    this.name = name;
    collectionDrivers.set(this, {
      stateChanged: (state, error) => this.stateChanged(state, error),
      ended: (error) => this.ended(error),
      change: (change) => this.#take(change),
      synced: (reason) => {
        this.synced();
        this.tell((emitter) => (emitter.count("sync") > 0 ? emitter.emit("sync", this.data, reason) : undefined));
      },
      diverged: (offset) => this.tell((emitter) => emitter.emit("diverged", offset)),
    });
  }

  /** The records, in the order of their ids; the same frozen array until something changes. */
  get data(): readonly Readonly<T>[] {
    return this.#view.all();
  }

  get size(): number {
    return this.#view.size;
  }

  get(id: string): Readonly<T> | undefined {
    return this.#view.get(id);
  }

  has(id: string): boolean {
    return this.#view.has(id);
  }

  /** Which change of the collection the record is as of, for `ifRevision`; `undefined` before the server has it. */
  revision(id: string): number | undefined {
    return this.#view.revision(id);
  }

  /** Whether changes of this record are on their way to the server. */
  isPending(id: string): boolean {
    return this.#pending.has(id);
  }

  /**
   * Adds a record. Without an `id`, a string, it gets one (UUIDv7, which sorts by time).
   *
   * It is in `data` when this returns; the promise gives the record as it is shown once the server has it. Inserting the same record again
   * changes nothing; where the id has another record, this fails with `conflict`.
   */
  insert(record: NewRecord<T>): Promise<Readonly<T>> {
    return this.#mutate("insert", undefined, record, undefined);
  }

  /**
   * Changes fields of a record: those of `patch`; the last writer wins each field.
   *
   * With `ifRevision` only where the server's record is still at that revision; otherwise this fails with `conflict`, and the
   * error has the record (`current`) and its `revision`. Fails with `not_found` where the server has no such record.
   */
  update(id: string, patch: Patch<T>, { ifRevision }: { ifRevision?: number | undefined } = {}): Promise<Readonly<T>> {
    return this.#mutate("update", id, patch, ifRevision);
  }

  /** Takes a record out; where it is not there, nothing changes. With `ifRevision` as `update`. */
  remove(id: string, { ifRevision }: { ifRevision?: number | undefined } = {}): Promise<void> {
    return this.#mutate("remove", id, undefined, ifRevision);
  }

  /** Stops to sync. What is on its way to the server still goes; `data` stays as it is. `channel.collection(name)` goes on with it. */
  close(): void {
    this.unwatch();
  }

  /** @internal */
  [inspect.custom](): string {
    return `RealtimeCollection { channel: ${JSON.stringify(this.#channel)}, name: ${JSON.stringify(this.name)}, size: ${this.size} }`;
  }

  /** Begins to sync, or goes on. @internal */
  open(initial: Iterable<NewRecord<T>> | undefined): void {
    if (initial !== undefined) {
      const seeded = native(() => this.host.native.seed(this.number, encodeObject([...initial])));
      for (const { id, version, record } of JSON.parse(seeded) as Made[]) {
        this.#view.called(id, version);
        this.#view.put(id, deepFreeze(record) as Readonly<T>, undefined);
      }
    }
    this.watch();
  }

  #mutate(op: string, id: string | undefined, payload: unknown, ifRevision: number | undefined): Promise<any> {
    let mine: { id: string; record: Readonly<T> | undefined } | undefined;
    const end = (): void => {
      if (mine === undefined) return;
      const left = (this.#pending.get(mine.id) ?? 0) - 1;
      if (left > 0) this.#pending.set(mine.id, left);
      else {
        const { id } = mine;
        this.#pending.delete(id);
        this.tell((emitter) => emitter.emit("settled", id));
      }
    };
    return this.host.outbox.call(
      () => {
        if (op !== "insert") checkName("record", id);
        const text = op === "remove" ? null : encodeObject(payload);
        return (request, wait) => {
          const made = this.host.native.mutate(request, this.number, op, id ?? null, text, ifRevision ?? null, wait);
          if (made === null) return false;
          const change = JSON.parse(made) as Made;
          const record = deepFreeze(change.record) as Readonly<T> | undefined;
          mine = { id: change.id, record };
          this.#pending.set(change.id, (this.#pending.get(change.id) ?? 0) + 1);
          this.#view.called(change.id, change.version);
          const { revision, confirms = false } = change;
          this.#apply({ id: change.id, record, revision, confirms, local: true, rollback: false, size: 0 });
          return true;
        };
      },
      {
        value: () => {
          end();
          return mine?.record && (this.get(mine.id) ?? mine.record);
        },
        failed: end,
        unseen: this.unseen,
      },
    );
  }

  #take({ id, record, revision, version, size, confirms, initial, local }: IncomingChange): void {
    const late = this.#view.isLate(id, version);
    if (!late) {
      const shown = record === undefined ? undefined : (deepFreeze(record) as Readonly<T>);
      // What was there from the beginning is told by `sync` alone.
      if (!initial) return this.#apply({ id, record: shown, revision, confirms, local, rollback: local, size });
      if (shown === undefined) this.#view.remove(id);
      else this.#view.put(id, shown, revision);
    }
    if (size > 0) this.host.consumed(this.number, size);
  }

  /** Changes what is shown, and tells. */
  #apply({ id, record, revision, confirms, local, rollback, size }: Shown<T>): void {
    const same = confirms && record !== undefined && this.has(id);
    const old = record === undefined ? this.#view.remove(id) : this.#view.put(id, record, revision, same);
    if (same || (record ?? old) === undefined) {
      if (size > 0) this.host.consumed(this.number, size);
      return;
    }
    const kind = record === undefined ? "delete" : old === undefined ? "insert" : "update";
    const change: CollectionChange<T> = { kind, id, record, old, local, rollback, revision };
    this.tell((emitter) => {
      const promises = emitter.emit(kind, record ?? old, change);
      const more = emitter.emit("change", change);
      return promises === undefined ? more : more === undefined ? promises : [...promises, ...more];
    }, size);
  }
}

/** A change as it is to be shown. */
interface Shown<T> {
  id: string;
  record: Readonly<T> | undefined;
  revision: number | undefined;
  confirms: boolean;
  local: boolean;
  rollback: boolean;
  size: number;
}

/** A change as the native side makes it at once. */
interface Made {
  id: string;
  version: number;
  revision?: number;
  record?: object;
  confirms?: boolean;
}
