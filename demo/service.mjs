// The Node service: `service.mjs URL COUNT PEER_COUNT CHANNEL…`. Speaks JSON lines with `demo.py` on stdin and stdout.
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocketClient } from "realtime-client";
import { Tally } from "./tally.mjs";

const [url, count, peerCount, ...channels] = process.argv.slice(2);
const total = Number(count) + Number(peerCount);
const tally = new Tally();
const tell = (message) => console.log(JSON.stringify(message));

const client = new WebSocketClient({ url, reconnect: { first: 50, base: 200, max: 1000 } });
client.on("error", (error) => console.error(`node: ${error.message}`));
let finish;
const everything = new Promise((resolve) => (finish = resolve));

function note(data, message) {
  const body = data instanceof Uint8Array ? JSON.parse(Buffer.from(data).toString()) : data;
  tally.note(body.from, message.channel, body.n, Date.now() - body.at);
  if (tally.total === total) finish();
}

await client.connect();
for (const name of channels) {
  const channel = client.channel(name);
  channel.on("work", note);
  channel.on("picture", note);
  channel.subscribe();
  await channel.ready();
}
tell({ state: "ready" });
await once(process.stdin, "data");

const sends = [];
for (let number = 0; number < Number(count); number += 1) {
  const name = channels[number % channels.length];
  const body = { from: "node", n: Math.floor(number / channels.length) + 1, at: Date.now() };
  const picture = number % 20 === 19;
  sends.push(client.channel(name).send(picture ? "picture" : "work", picture ? Buffer.from(JSON.stringify(body)) : body));
  if (picture) await delay(15);
}
const receipts = await Promise.allSettled(sends);
tell({ state: "sent" });
await Promise.race([everything, delay(60_000, undefined, { ref: false })]); // What is missing is counted as lost.

const stats = client.getStats();
tell({
  state: "done",
  sent: Number(count),
  acknowledged: receipts.filter(({ value }) => value?.acknowledged).length,
  failed: receipts.filter(({ status }) => status === "rejected").length,
  received: tally.received,
  duplicated: tally.duplicated,
  outOfOrder: tally.outOfOrder,
  latencies: tally.latencies,
  recovered: stats.recovered,
  reconnects: stats.reconnects,
  gaps: stats.gaps,
});
await client.disconnect();
// Not process.exit(): what is written into a pipe may still be on its way.
process.stdin.destroy();
