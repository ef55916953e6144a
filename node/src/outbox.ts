import { RealtimeError, fromNative, native as call, translate } from "./errors.js";
import type { Receipt } from "./message.js";
import type { NativeClient, SendOutcome } from "./native.js";
import type { QueueOptions } from "./options.js";
import { encodeBinary, encodeJson } from "./payload.js";
import { Sending, type Answer } from "./sending.js";

/** A burst is handed over in a microtask, or sooner once it is this large. */
const BURST_MESSAGES = 1024;
const BURST_CHARACTERS = 64 * 1024;

/** Requests that are made at once have numbers from here on. */
const CALLS = 2 ** 52;

/** Gives a request to the engine at once; `false` where it has no room, and `wait` says to wait for that. @internal */
export type Attempt = (request: number, wait: boolean) => boolean;

const encoder = new TextEncoder();

/**
 * Sends on their way to the native side. Those of one microtask cross together; those that find the native outbox full
 * wait here in order, within a bound. With a file every send crosses by itself, so that it is in there when `send` returns. Requests are numbered without a hole, so that a burst needs only its first number.
 *
 * @internal
 */
export class Outbox {
  readonly #native: NativeClient;
  readonly #report: (error: RealtimeError) => void;
  /** Whether sends wait for room in the native outbox. */
  readonly #waits: boolean;
  readonly #durable: boolean;
  readonly #pending = new Map<number, Sending<any>>();
  /**
   * One string of two lines a message, or what makes a call, not handed over yet; the last request number belongs to the last
   * of them.
   */
  #lines: (string | (() => boolean))[] = [];
  #waitingCalls = 0;
  #lastCall = CALLS;
  #characters = 0;
  /** The bytes that belong to the empty payload lines, in order. */
  #binaries: Buffer[] = [];
  #binaryBytes = 0;
  #lastRequest = 0;
  #scheduled = false;
  #full = false;
  #lastEvent = "";
  #lastHead = "";

  constructor(native: NativeClient, options: QueueOptions, report: (error: RealtimeError) => void) {
    const { whenFull = "wait", path } = options;
    this.#native = native;
    this.#waits = whenFull === "wait";
    this.#durable = path != null;
    this.#report = report;
  }

  /** Whether it has a file. */
  get isDurable(): boolean {
    return this.#durable;
  }

  /** Messages that wait in line before the native outbox. */
  get waiting(): number {
    return this.#lines.length;
  }

  /** Sends `payload`; `channel` and `id` are those of a channel, or `undefined` and `-` for the backend itself. */
  send(channel: string | undefined, id: number | "-", event: string, payload: unknown): Promise<Receipt> {
    const sending = new Sending(channel);
    try {
      const head = this.#head(event);
      const binary = encodeBinary(payload);
      const line = `${id} ${head}\n${binary === undefined ? encodeJson(payload) : ""}\n`;
      this.#checkRoom(line.length + (binary?.length ?? 0));
      this.#push(sending, line, binary);
    } catch (error) {
      sending.fail(error as RealtimeError, this.#report);
    }
    return sending;
  }

  /** Sends bytes to the backend itself. */
  sendBinary(bytes: unknown): Promise<Receipt> {
    const sending = new Sending(undefined);
    const binary = encodeBinary(bytes);
    if (binary === undefined) {
      const error = new RealtimeError("invalid_payload", "sendBinary takes a Buffer, Uint8Array or ArrayBuffer");
      sending.fail(error, this.#report);
    } else {
      try {
        this.#checkRoom(binary.length);
        this.#push(sending, "- \n\n", binary);
      } catch (error) {
        sending.fail(error as RealtimeError, this.#report);
      }
    }
    return sending;
  }

  /** Makes a request at once: one that needs no room. */
  request<T>(make: (request: number) => void, answer: Answer<T>): Promise<T> {
    const sending = new Sending(undefined, answer);
    try {
      make(this.#lastCall + 1);
      this.#pending.set(++this.#lastCall, sending);
    } catch (error) {
      sending.fail(translate(error) as RealtimeError, this.#report);
    }
    return sending;
  }

  /** Makes a call after what was sent before: at once where the native outbox has room, otherwise in its turn. */
  call<T>(prepare: () => Attempt, answer: Answer<T>): Promise<T> {
    const sending = new Sending(undefined, answer);
    try {
      const attempt = prepare();
      const run = (): boolean => {
        const request = ++this.#lastCall;
        const taken = attempt(request, this.#waits);
        if (taken) this.#pending.set(request, sending);
        return taken;
      };
      this.flush();
      if (this.#lines.length > 0 || !run()) {
        this.#checkRoom(0);
        this.#wait(sending, run);
      }
    } catch (error) {
      sending.fail(translate(error) as RealtimeError, this.#report);
    }
    return sending;
  }

  /** The native outbox has room again, or will answer what waits with an error. */
  resume(): void {
    this.#full = false;
    this.flush();
  }

  succeed(
    request: number,
    epoch: string | undefined,
    offset: number | undefined,
    duplicate: boolean,
    ack: boolean,
  ): void {
    const sending = this.#take(request);
    sending?.succeed({ channel: sending.channel, epoch, offset, duplicate, acknowledged: ack });
  }

  fail(request: number, error: RealtimeError): void {
    this.#take(request)?.fail(error, this.#report);
  }

  /** The client is gone: nothing will make room for what still waits. */
  end(reason: RealtimeError | undefined): void {
    this.#full = false;
    const error = reason ?? new RealtimeError("closed", "the client was disconnected before this was sent");
    const first = this.#lastRequest - this.#lines.length + 1;
    this.#dropHanded(this.#lines.length);
    for (let request = first; request <= this.#lastRequest; request++) this.fail(request, error);
  }

  /** Hands over what has gathered. */
  flush(): void {
    while (this.#lines.length > 0 && !this.#full) this.#handOver();
  }

  #push(sending: Sending, line: string, binary: Buffer | undefined): void {
    this.#pending.set(++this.#lastRequest, sending);
    this.#lines.push(line);
    this.#characters += line.length;
    if (binary !== undefined) {
      this.#binaries.push(binary);
      this.#binaryBytes += binary.length;
    }
    if (this.#full) return;
    if (
      this.#durable ||
      this.#lines.length >= BURST_MESSAGES ||
      this.#characters + this.#binaryBytes >= BURST_CHARACTERS
    ) {
      this.flush();
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        this.flush();
      });
    }
  }

  #wait(sending: Sending<any>, run: () => boolean): void {
    const number = ++this.#lastRequest;
    this.#pending.set(number, sending);
    this.#lines.push(() => {
      try {
        if (!run()) return false;
        this.#pending.delete(number);
      } catch (error) {
        this.fail(number, translate(error) as RealtimeError);
      }
      return true;
    });
    this.#waitingCalls++;
    this.#full = true;
  }

  #handOver(): void {
    const all = this.#lines;
    const call = this.#waitingCalls > 0 ? all.findIndex((line) => typeof line !== "string") : -1;
    if (call === 0) {
      this.#full = !(all[0] as () => boolean)();
      if (!this.#full) this.#dropHanded(1);
      return;
    }
    const count = Math.min(call < 0 ? all.length : call, BURST_MESSAGES);
    const burst = all.length > count ? all.slice(0, count) : all;
    const first = this.#lastRequest - all.length + 1;
    const text = this.#native.send(first, burst.join(""), this.#binaries, this.#waits);
    const outcome: SendOutcome = text === null ? { handled: burst.length, errors: [] } : JSON.parse(text);
    this.#full = outcome.handled < burst.length;
    this.#dropHanded(outcome.handled);
    for (const [index, error] of outcome.errors) this.fail(first + index, fromNative(error));
  }

  #dropHanded(handled: number): void {
    if (handled === this.#lines.length) {
      this.#lines = [];
      this.#waitingCalls = 0;
      this.#binaries = [];
      this.#characters = 0;
      this.#binaryBytes = 0;
      return;
    }
    let binaries = 0;
    for (let index = 0; index < handled; index++) {
      const line = this.#lines[index]!;
      if (typeof line !== "string") {
        this.#waitingCalls--;
        continue;
      }
      this.#characters -= line.length;
      // Only the payload line of bytes is empty.
      if (line.endsWith("\n\n")) this.#binaryBytes -= this.#binaries[binaries++]!.length;
    }
    this.#lines = this.#lines.slice(handled);
    this.#binaries = this.#binaries.slice(binaries);
  }

  #checkRoom(size: number): void {
    if (!this.#full || this.#lines.length === 0) return;
    call(() => this.#native.waitInLine(this.#lines.length, this.#characters + this.#binaryBytes, size));
  }

  #head(event: string): string {
    if (event === this.#lastEvent && event !== "") return this.#lastHead;
    checkName("event", event);
    this.#lastEvent = event;
    // A line must stay a line.
    return (this.#lastHead = /[\u0000-\u001f"]/.test(event) ? JSON.stringify(event) : event);
  }

  #take(request: number): Sending<any> | undefined {
    const sending = this.#pending.get(request);
    this.#pending.delete(request);
    return sending;
  }
}

/** Refuses what cannot be a name on the wire. @internal */
export function checkName(what: string, name: unknown): asserts name is string {
  let problem: string | undefined;
  if (typeof name !== "string") problem = `must be a string, not ${name === null ? "null" : typeof name}`;
  else if (name === "") problem = "must not be empty";
  else if (name.length > 255 || (name.length > 85 && encoder.encode(name).length > 255))
    problem = "is longer than 255 bytes";
  else if (/[\ud800-\udfff]/u.test(name)) problem = "contains half a surrogate pair, which UTF-8 cannot carry";
  if (problem !== undefined) throw new RealtimeError("invalid_name", `the ${what} name ${problem}`);
}
