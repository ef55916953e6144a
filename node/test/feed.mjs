// A server in a process of its own that publishes what it is told: `node feed.mjs OPTIONS`.
//
// Prints its URL, then a line for each line that it reads: `MESSAGES BYTES FAST` publishes so many messages with so many
// bytes of padding in the channel `slow`, and spread among them FAST small ones in the channel `fast`.
import { createInterface } from "node:readline";
import { RealtimeServer } from "realtime-client/testing";

const server = await new RealtimeServer(JSON.parse(process.argv[2])).start();
console.log(server.url);
for await (const line of createInterface({ input: process.stdin })) {
  const [messages, bytes, fast] = line.split(" ").map(Number);
  const padding = "x".repeat(bytes);
  let sent = 0;
  for (let n = 1; n <= messages; n++) {
    server.publish("slow", "n", { n, padding });
    while (sent * messages < n * fast) server.publish("fast", "n", ++sent);
  }
  console.log("done");
}
await server.stop();
