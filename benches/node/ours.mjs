// This project: `realtime.v1`, with receipts and recovery.
import { WebSocketClient } from "realtime-client";
import { run, sendAcknowledged } from "./common.mjs";

export const ours = (protocol, dialect) => () => {
  let client, room;
  const send = (payload) => room.send("tick", payload);
  return {
    async open(of, handlers) {
      const reconnect = of.cuts ? { first: 1, base: 1 } : true;
      client = new WebSocketClient({ url: of.url(dialect), protocol, reconnect });
      await client.connect();
      for (const [name, handler] of handlers) {
        const channel = client.channel(name);
        channel.on("tick", handler);
        await channel.subscribe().ready();
      }
      room = client.channel("room-0");
    },
    send,
    request: send,
    sendAll: (payloads) => sendAcknowledged(payloads, send),
    close: () => client.disconnect(),
  };
};

if (process.argv[1].endsWith("ours.mjs")) await run(ours("realtime.v1", "realtime"));
