// The client of ../memory.py in Node; its package is that of the current folder.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { WebSocketClient } = createRequire(`${process.cwd()}/`)("realtime-client");
const [url, channel, bytes, channelBytes] = process.argv.slice(2);

function memory(name) {
  return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
}

const client = new WebSocketClient({ url, inbox: { bytes: Number(bytes), channelBytes: Number(channelBytes) } });
await client.connect();
const room = client.channel(channel);
let begun = 0;
room.on("n", () => {
  begun++;
  return new Promise(() => {});
});
await room.subscribe().ready();
console.log(memory("VmRSS"));
for await (const _ of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify([memory("VmRSS"), memory("VmHWM"), client.getStats().unconsumedBytes, begun]));
}
