// What all subjects share: the cases, the checks, and one line of JSON at the end.
//
// node <subject>.mjs <kind> <size> <channels> <count> <port>
import { readFileSync } from "node:fs";

/** Numbers in payloads begin here, so that they all have eight digits. */
const FIRST = 10_000_000;

/** Messages that are sent before the loop gets its turn, or their receipts are awaited. */
export const BURST = 512;

const payload = JSON.parse(readFileSync(new URL("../payloads/small.json", import.meta.url), "utf8"));

/**
 * Runs a subject: an object with
 * - `open(case, handlers)`: connects and subscribes; each handler then gets the parsed payloads of its channel;
 * - `send(payload)`: sends one message to the first channel, and need not wait for a receipt;
 * - `sendAll(payloads)`: sends many, as fast as the library allows, and waits for their receipts where it has such;
 * - `close()`.
 */
export async function run(make) {
  const [kind, size, channels, count, port] = process.argv.slice(2);
  const measure = { receive, send, echo, connect }[kind];
  const of = (count) => new Case(kind, size, Number(channels), count, Number(port));
  await measure(make, of(Math.ceil(Number(count) / 4)));
  const result = await measure(make, of(Number(count)));
  // Some libraries keep timers; a pipe wants to be written out first.
  process.stdout.write(`${JSON.stringify({ ...result, rss: peak() })}\n`, () => process.exit(0));
}

class Case {
  constructor(kind, size, channels, count, port) {
    Object.assign(this, { kind, size, channels, count, port });
    this.names = Array.from({ length: channels }, (_, index) => `room-${index}`);
  }

  path(dialect) {
    const kind = this.kind === "connect" ? "echo" : this.kind;
    return `/${dialect}/${kind}/${this.size}/${this.channels}/${this.count}`;
  }

  url(dialect) {
    return `ws://127.0.0.1:${this.port}${this.path(dialect)}`;
  }
}

function* payloads(count) {
  for (let seq = FIRST; seq < FIRST + count; seq++) yield { ...payload, seq };
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

/** The user's callback: reads one field, and fails on what is lost or out of order. */
function receiver({ channels, count }, channel, finished) {
  let expected = FIRST + channel;
  const end = FIRST + count;
  return (data) => {
    if (data.seq !== expected) fail(`message ${data.seq} came instead of ${expected}`);
    expected += channels;
    if (expected >= end) finished();
  };
}

// Libraries catch what handlers throw.
function fail(message) {
  console.error(message);
  process.exit(1);
}

async function receive(make, of) {
  const subject = make();
  let left = of.channels;
  let done;
  const end = new Promise((resolve) => (done = resolve));
  const finished = () => --left === 0 && done();
  await subject.open(of, new Map(of.names.map((name, index) => [name, receiver(of, index, finished)])));
  const clock = start();
  subject.send(payload);
  await end;
  const result = clock.stop(of.count);
  await subject.close();
  return result;
}

async function send(make, of) {
  const subject = make();
  let done;
  const end = new Promise((resolve) => (done = resolve));
  await subject.open(of, new Map([["room-0", (data) => done(data.seq)]]));
  const clock = start();
  await subject.sendAll(payloads(of.count));
  if ((await end) !== FIRST + of.count - 1) fail("another message than the last came back");
  const result = clock.stop(of.count);
  await subject.close();
  return result;
}

async function echo(make, of) {
  const subject = make();
  let back;
  await subject.open(of, new Map([["room-0", (data) => back(data.seq)]]));
  const times = [];
  const clock = start();
  for (const payload of payloads(of.count)) {
    const begun = performance.now();
    const answer = new Promise((resolve) => (back = resolve));
    subject.send(payload);
    const seq = await answer;
    times.push((performance.now() - begun) * 1000);
    if (seq !== payload.seq) fail(`message ${seq} came instead of ${payload.seq}`);
  }
  const result = { ...clock.stop(of.count), times };
  await subject.close();
  return result;
}

async function connect(make, of) {
  const times = [];
  const clock = start();
  for (let count = 0; count < of.count; count++) {
    const subject = make();
    const begun = performance.now();
    await subject.open(of, new Map([["room-0", () => {}]]));
    times.push((performance.now() - begun) * 1000);
    await subject.close();
  }
  return { ...clock.stop(of.count), times };
}

/** Time and processor time from here on. */
function start() {
  const begun = performance.now();
  const cpu = process.cpuUsage();
  return {
    stop(count) {
      const seconds = (performance.now() - begun) / 1000;
      const { user, system } = process.cpuUsage(cpu);
      return { count, seconds, cpu: (user + system) / 1e6, times: [] };
    },
  };
}

/** The most memory that this process has used, in bytes; 0 where the system does not say. */
function peak() {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
  } catch {
    return 0;
  }
}
