// What subjects and cases have in common.
import { readFileSync } from "node:fs";

/** Numbers in payloads begin here, so that they all have eight digits. */
export const FIRST = 10_000_000;

/** Messages that are sent before the loop gets its turn, or their receipts are awaited. */
export const BURST = 512;

const payload = JSON.parse(readFileSync(new URL("../payloads/small.json", import.meta.url), "utf8"));

export class Case {
  constructor(kind, size, channels, count, port) {
    Object.assign(this, { kind, size, channels, count, port });
    this.names = Array.from({ length: channels }, (_, index) => `room-${index}`);
  }

  /** Whether the server cuts the connection: the subject is to come back as soon as its options allow. */
  get cuts() {
    return this.kind === "resubscribe" || this.kind === "catch-up";
  }

  path(dialect) {
    const kind = { connect: "echo", idle: "echo", request: "send" }[this.kind] ?? this.kind;
    return `/${dialect}/${kind}/${this.size}/${this.channels}/${this.count}`;
  }

  url(dialect) {
    return `ws://127.0.0.1:${this.port}${this.path(dialect)}`;
  }
}

export const numbered = (number) => ({ ...payload, seq: FIRST + number });

export function* payloads(count) {
  for (let number = 0; number < count; number++) yield numbered(number);
}

export function* bursts(items) {
  let burst = [];
  for (const item of items) {
    burst.push(item);
    if (burst.length === BURST) {
      yield burst;
      burst = [];
    }
  }
  if (burst.length > 0) yield burst;
}

/** Sends without receipts: as much as the socket takes, then the loop gets its turn. */
export async function sendInBursts(payloads, send, backlog) {
  for (const burst of bursts(payloads)) {
    for (const payload of burst) send(payload);
    do await new Promise(setImmediate);
    while (backlog() > 1 << 20);
  }
}

/** Sends with receipts: two bursts on the way. */
export async function sendAcknowledged(payloads, send) {
  let before = [];
  for (const burst of bursts(payloads)) {
    const receipts = burst.map(send);
    await Promise.all(before);
    before = receipts;
  }
  await Promise.all(before);
}
