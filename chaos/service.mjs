// The Node service of `make chaos`: `service.mjs JOB`. Speaks JSON lines with `chaos.py` on stdin and stdout.
// The same as `service.py` and `service/` beside it, in the manner of its language.
import { openSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { WebSocketClient } from "realtime-client";
import { Member } from "./member.mjs";

const job = JSON.parse(process.argv[2]);
const words = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (message) => console.log(JSON.stringify(message));

async function expect(word) {
  const { value } = await words.next();
  if (value !== word) throw new Error(`expected ${word}, heard ${value}`);
}

/** What the service was told, one event a line, in the order of the events. */
class Journal {
  #file = openSync(job.journal, "w");
  #lines = [];

  receipt(channel, number, { epoch, offset }) {
    this.#write(`r ${channel} ${number} ${epoch} ${offset}\n`);
  }

  error(channel, number, { code, name }) {
    this.#write(`e ${channel} ${number} ${code ?? name}\n`);
  }

  message(channel, offset, sender, number) {
    this.#write(`m ${channel} ${offset} ${sender} ${number}\n`);
  }

  gap(channel, { reason, epoch, previousEpoch, from, to }) {
    this.#write(`g ${channel} ${reason} ${epoch} ${previousEpoch ?? "-"} ${from ?? "-"} ${to ?? "-"}\n`);
  }

  flush() {
    writeSync(this.#file, this.#lines.join(""));
    this.#lines = [];
  }

  #write(line) {
    if (this.#lines.push(line) === 10_000) this.flush();
  }
}

const journal = new Journal();
const client = new WebSocketClient({
  url: job.url,
  heartbeat: { interval: 300, timeout: 1000 },
  connectTimeout: 1500,
  // The guest may begin while there is no server.
  reconnect: { first: 50, base: 100, max: 500, attemptsUntilError: 1000 },
  queue: { messages: job.queue },
  inbox: { bytes: job.inbox, channelBytes: job.channel_inbox },
});
client.on("error", ({ code, message }) => tell({ state: "error", code, message }));
await client.connect();

const marks = new Set();
let finish;
const complete = new Promise((resolve) => (finish = resolve));
const channels = [];
for (const [index, name] of job.channels.entries()) {
  const note = (data, message) => {
    const body = data instanceof Uint8Array ? JSON.parse(Buffer.from(data).toString()) : data;
    journal.message(index, message.offset, body.from, body.n);
    if (message.event === "end" && marks.add(`${index} ${body.from}`).size === job.marks) finish();
  };
  const channel = client.channel(name);
  for (const event of ["work", "picture", "end"]) channel.on(event, note);
  channel.on("gap", (gap) => journal.gap(index, gap));
  channel.subscribe();
  await channel.ready();
  channels.push(channel);
}
if (job.marks === 0) finish();
const member = job.shared ? new Member(job.shared, client) : undefined;
await member?.ready();
tell({ state: "ready" });

let open = 0;
let ended = 0;
let repeated = 0;
let changed = () => {};

async function send(event, number, payload, place) {
  open += 1;
  try {
    const receipt = await channels[place].send(event, payload);
    journal.receipt(place, number, receipt);
    repeated += receipt.duplicate ? 1 : 0;
  } catch (error) {
    journal.error(place, number, error);
  }
  open -= 1;
  ended += 1;
  changed();
  if (ended % job.report_every === 0) tell({ state: "progress", ended });
}

async function until(bound) {
  while (open > bound) await new Promise((resolve) => (changed = resolve));
}

const body = (number, pad) => ({ from: job.name, n: number, pad: "x".repeat(pad) });

await expect("go");
void member?.edit();
for (let number = 1; number <= job.count; number += 1) {
  const content = body(number, number % job.large_every === 0 ? job.large : (number * 37) % 200);
  const picture = number % 20 === 19;
  const payload = picture ? Buffer.from(JSON.stringify(content)) : content;
  void send(picture ? "picture" : "work", number, payload, number % channels.length);
  if (open === job.window) await until(job.window / 2);
}
await until(0);
tell({ state: "progress", ended });
tell({ state: "sent" });

await expect("quiet");
await member?.quiet();
tell({ state: "quiet" });
await expect("end");
for (const place of channels.keys()) {
  const number = job.count + 1 + place;
  void send("end", number, body(number, 0), place);
}
await until(0);
const stopped = expect("stop"); // What is missing by then is counted as lost.
await Promise.race([complete.then(() => member?.complete()), stopped]);
tell({ state: "complete" });
await stopped;
journal.flush();
member?.show();
const { reconnects, recovered } = client.getStats();
tell({ state: "done", repeated, reconnects, recovered });
await client.disconnect();
// Not process.exit(): what is written into a pipe may still be on its way.
process.stdin.destroy();
