import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What the native module offers. Its exceptions carry their error as JSON. @internal */
export interface NativeModule {
  Client: new (options: string, wake: () => void) => NativeClient;
  Server: new (options: string) => NativeServer;
  Proxy: new (target: string) => NativeProxy;
  /** Runs the command line of the server to its end and returns the exit code. */
  runCli(args: string[]): number;
}

/** @internal */
export interface NativeClient {
  connect(): void;
  disconnect(flush: number): void;
  channel(name: string): number;
  subscribe(name: string): number;
  unsubscribe(channel: number): void;
  /**
   * Sends a burst. Two lines a message: `channel event` (channel `-` for the backend itself; the event as JSON where it
   * starts with a quote), then the payload, or nothing, which takes the next of `binaries`. Requests count up from `first`.
   * Returns nothing where all were taken, else a `SendOutcome` as JSON. With `wait` it stops where the outbox is full.
   */
  send(first: number, lines: string, binaries: Buffer[], wait: boolean): string | null;
  /** Throws `queue_full` where no more sends may wait for room behind so many messages with so many bytes. */
  waitInLine(messages: number, waiting: number, bytes: number): void;
  /** Takes the next batch: fills `records` and returns its texts as one JSON array; `null` where there is nothing. */
  drain(records: Float64Array): string | null;
  /** One number in memory that is shared: not 0 once the event loop has been blocked for long, until the next batch is taken. */
  overdue(): Uint32Array;
  /** The binary payloads of the batch that was drained last. */
  binaries(): Buffer[];
  /** The texts of the batch that was drained last, each by itself. */
  texts(): string[];
  /** Pairs of channel (-1: messages of the backend) and bytes that were consumed. */
  consumed(pairs: number[]): void;
  /** Says when messages of a channel wait for a snapshot, which the report `load` asks for. */
  loadOn(channel: number, gaps: boolean, initial: boolean): void;
  /** Answers the report `load`: the snapshot contains everything up to `offset`, where that is known. */
  loaded(channel: number, load: number, epoch: string | null, offset: number | null): void;
  /** The number of the presence of a channel, and of a collection. */
  presence(channel: string): number;
  collection(channel: string, name: string): number;
  /** Subscribes to one of these; `unsubscribe` ends it. */
  watch(stream: number): void;
  /** Shows records, a JSON array, until the server's are here; returns them as JSON: `[{id, version, record}]`. */
  seed(collection: number, records: string): string;
  track(request: number, presence: number, key: string | null, status: string, state: string): void;
  updatePresence(request: number, presence: number, status: string | null, patch: string | null): void;
  untrack(request: number, presence: number): void;
  isTracked(presence: number): boolean;
  /**
   * Changes a record: `insert` (with the record), `update` (with a patch), `remove`. Returns what is shown now as JSON,
   * `{id, version, confirms?, revision?, record?}`; `null` where there is no room and the caller waits.
   */
  mutate(
    request: number,
    collection: number,
    op: string,
    id: string | null,
    payload: string | null,
    ifRevision: number | null,
    wait: boolean,
  ): string | null;
  answerToken(request: number, token: string | null, error: string | null): void;
  stats(): string;
  dump(): string;
}

/** What happened to a burst that was not taken whole. @internal */
export interface SendOutcome {
  /** Messages that were taken or refused; the rest found no room. */
  handled: number;
  /** The refused ones by their place in the burst. */
  errors: [number, import("./errors.js").NativeError][];
}

/** @internal */
export interface NativeServer {
  start(): Promise<string>;
  stop(): Promise<void>;
  publish(channel: string, event: string, payload: string | Buffer): number;
  sendToAll(event: string, payload: string | Buffer): number;
  disconnectAll(code: number): void;
  connectionCount(): number;
}

/** @internal */
export interface NativeProxy {
  start(): Promise<string>;
  stop(): Promise<void>;
  cut(): void;
  cutConnections(): void;
  stall(): void;
  delay(ms: number): void;
  limit(bytesPerSecond: number): void;
  dropAfter(bytes: number): void;
  restore(): void;
  connections(): number;
  cuts(): number;
}

let loaded: NativeModule | undefined;

/** The native module, loaded on first use: from the platform's package, else from a local build. @internal */
export function nativeModule(): NativeModule {
  return (loaded ??= load());
}

function load(): NativeModule {
  const platform = platformTriple();
  const tried: string[] = [];
  const local = join(__dirname, "..", `realtime.${platform}.node`);
  for (const candidate of [`realtime-client-${platform}`, local]) {
    try {
      return require(candidate) as NativeModule;
    } catch (error) {
      tried.push(`${candidate}: ${String((error as Error).message).split("\n")[0]}`);
    }
  }
  throw new Error(
    `realtime-client has no native module for this platform (${platform}). Install the package ` +
      `realtime-client-${platform} next to it, or build one with "npm run build:native". Tried:\n  ${tried.join("\n  ")}`,
  );
}

function platformTriple(): string {
  const { platform, arch } = process;
  if (platform === "linux") return `linux-${arch}-${isMusl() ? "musl" : "gnu"}`;
  if (platform === "win32") return `win32-${arch}-msvc`;
  return `${platform}-${arch}`;
}

function isMusl(): boolean {
  try {
    return readFileSync("/usr/bin/ldd", "latin1").includes("musl");
  } catch {
    return existsSync("/etc/alpine-release");
  }
}
