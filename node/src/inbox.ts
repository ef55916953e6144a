import { RealtimeError, fromNative, type NativeError } from "./errors.js";
import type { NativeClient } from "./native.js";
import type { IncomingChange } from "./stream.js";

/** Where a drained batch goes. @internal */
export interface Sink {
  message(message: Incoming): void;
  receipt(
    request: number,
    epoch: string | undefined,
    offset: number | undefined,
    duplicate: boolean,
    ack: boolean,
  ): void;
  failed(request: number, error: RealtimeError): void;
  change(change: IncomingChange): void;
  presence(stream: number, told: unknown, size: number): void;
  report(report: Report): void;
  malformed(error: RealtimeError, channel: number, size: number): void;
}

/** A message as it crosses: `channel` is -1 for one of the backend to this client alone. @internal */
export interface Incoming {
  channel: number;
  event: string;
  data: unknown;
  binary: boolean;
  offset: number | undefined;
  timestamp: number | undefined;
  user: string | undefined;
  size: number;
  /** The backend named no channel: the same message came just before as one to this client. */
  implied: boolean;
}

/** What happens rarely crosses as an object of its own. @internal */
export type Report = { type: string } & Record<string, any>;

// The layout of `records`, kept equal to bindings/node/src/batch.rs by the tests of both.
const HEADER = 4;
const STRIDE = 6;
const MAX_RECORDS = 2048;
const KIND = 0x0f;
const MESSAGE = 0;
const DIRECT = 1;
const RECEIPT = 2;
const FAILED = 3;
const REPORT = 4;
const CHANGE = 5;
const PRESENCE = 6;
/** The event (or epoch) is the one of the record before of the same kind. */
const SAME = 0x10;
const BINARY = 0x20;
const USER = 0x40;
const ACKNOWLEDGED = 0x80;
const DUPLICATE = 0x100;
const NAMED = 0x200;
const IMPLIED = 0x400;
/** Of a change: there is a record; only the revision is another; of the first snapshot; caused by this client. */
const RECORD = 0x800;
const CONFIRMS = 0x1000;
const INITIAL = 0x2000;
const LOCAL = 0x4000;

/** Filled by one drain at a time, and read before the next. */
const records = new Float64Array(HEADER + STRIDE * MAX_RECORDS);

/** Takes one batch and gives its records to `sink`, in order. Returns whether there was one: only a drain that finds none arms the next wake. @internal */
export function drain(native: NativeClient, sink: Sink): boolean {
  const json = native.drain(records);
  if (json === null) return false;
  const count = records[0]!;
  let payload = records[1]!;
  const texts = parse(json, payload + records[2]!) ?? new OneByOne(native.texts());
  const binaries = records[3]! > 0 ? native.binaries() : [];
  // Payloads of messages stand behind all other texts: whatever a server passes off as JSON, it moves none of those.
  let text = 0;
  let binary = 0;
  let event = "";
  let epoch: string | undefined;
  for (let index = 0, at = HEADER; index < count; index++, at += STRIDE) {
    const flags = records[at]!;
    switch (flags & KIND) {
      case MESSAGE:
      case DIRECT: {
        const [channel, offset, timestamp, size] = [
          records[at + 1]!,
          records[at + 2]!,
          records[at + 3]!,
          records[at + 4]!,
        ];
        if (!(flags & SAME)) event = flags & NAMED ? (texts.at(text++) as string) : "";
        const user = flags & USER ? (texts.at(text++) as string) : undefined;
        let data: unknown;
        if (flags & BINARY) data = binaries[binary++];
        else {
          try {
            data = texts.at(payload++);
          } catch (cause) {
            const reason = `a payload of ${JSON.stringify(event)} is not JSON: ${(cause as Error).message}`;
            sink.malformed(new RealtimeError("malformed", reason, { cause }), channel, size);
            break;
          }
        }
        sink.message({
          channel,
          event,
          data,
          binary: (flags & BINARY) !== 0,
          offset: offset < 0 ? undefined : offset,
          timestamp: timestamp < 0 ? undefined : timestamp,
          user,
          size,
          implied: (flags & IMPLIED) !== 0,
        });
        break;
      }
      case RECEIPT: {
        if (!(flags & SAME)) epoch = flags & NAMED ? (texts.at(text++) as string) : undefined;
        const offset = records[at + 2]!;
        const request = records[at + 5]!;
        sink.receipt(
          request,
          epoch,
          offset < 0 ? undefined : offset,
          (flags & DUPLICATE) !== 0,
          (flags & ACKNOWLEDGED) !== 0,
        );
        break;
      }
      case CHANGE: {
        const revision = records[at + 2]!;
        sink.change({
          stream: records[at + 1]!,
          id: texts.at(text++) as string,
          record: flags & RECORD ? texts.at(text++) : undefined,
          revision: revision < 0 ? undefined : revision,
          version: records[at + 5]!,
          size: records[at + 4]!,
          confirms: (flags & CONFIRMS) !== 0,
          initial: (flags & INITIAL) !== 0,
          local: (flags & LOCAL) !== 0,
        });
        break;
      }
      case PRESENCE:
        sink.presence(records[at + 1]!, texts.at(text++), records[at + 4]!);
        break;
      case FAILED:
        sink.failed(records[at + 5]!, fromNative(texts.at(text++) as NativeError));
        break;
      case REPORT:
        sink.report(texts.at(text++) as Report);
        break;
    }
  }
  return true;
}

interface Texts {
  at(index: number): unknown;
}

/** All texts at once; `undefined` where one of them is bad and spoils the array. */
function parse(json: string, expected: number): Texts | undefined {
  try {
    const texts = JSON.parse(json) as unknown[];
    return texts.length === expected ? texts : undefined;
  } catch {
    return undefined;
  }
}

/** Each text by itself, so that only the bad one fails. */
class OneByOne implements Texts {
  readonly #texts: string[];

  constructor(texts: string[]) {
    this.#texts = texts;
  }

  at(index: number): unknown {
    return JSON.parse(this.#texts[index]!);
  }
}
