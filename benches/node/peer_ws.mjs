// ws with JSON.parse, by its own events, which are faster than those of the browser's interface.
import WebSocket from "ws";
import { run, sendInBursts } from "./common.mjs";

await run(() => {
  let socket;
  const write = (message) => socket.send(JSON.stringify(message));
  const send = (payload) => write({ type: "channel_message", payload: { channel: "room-0", event: "tick", payload } });
  return {
    async open(of, handlers) {
      socket = new WebSocket(of.url("plain"));
      socket.on("message", (data) => {
        const message = JSON.parse(data);
        handlers.get(message.channel)(message.payload);
      });
      await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
      for (const channel of handlers.keys()) write({ type: "subscribe", payload: { channel } });
    },
    send,
    sendAll: (payloads) => sendInBursts(payloads, send, () => socket.bufferedAmount),
    async close() {
      const closed = new Promise((resolve) => socket.on("close", resolve));
      socket.close();
      await closed;
    },
  };
});
