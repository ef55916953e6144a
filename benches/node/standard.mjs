// A subject for every library with the interface of the browser's WebSocket, and JSON.parse.
import { sendInBursts } from "./common.mjs";

export const standard = (connect) => () => {
  let socket;
  const write = (message) => socket.send(JSON.stringify(message));
  const send = (payload) => write({ type: "channel_message", payload: { channel: "room-0", event: "tick", payload } });
  return {
    async open(of, handlers) {
      socket = connect(of.url("plain"));
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        handlers.get(message.channel)(message.payload);
      };
      await new Promise((resolve, reject) => {
        socket.onopen = resolve;
        socket.onerror = reject;
      });
      for (const channel of handlers.keys()) write({ type: "subscribe", payload: { channel } });
    },
    send,
    sendAll: (payloads) => sendInBursts(payloads, send, () => socket.bufferedAmount),
    async close() {
      const closed = new Promise((resolve) => (socket.onclose = resolve));
      socket.close();
      await closed;
    },
  };
};
