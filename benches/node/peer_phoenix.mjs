// phoenix over ws: every push is acknowledged.
import { Socket } from "phoenix";
import WebSocket from "ws";
import { run, sendAcknowledged } from "./common.mjs";

const answered = (push) => new Promise((resolve, reject) => push.receive("ok", resolve).receive("error", reject));

await run(() => {
  let socket, room;
  return {
    async open(of, handlers) {
      socket = new Socket(of.url("phoenix"), { transport: WebSocket });
      socket.connect();
      for (const [name, handler] of handlers) {
        const channel = socket.channel(name);
        channel.on("tick", handler);
        await answered(channel.join());
        room ??= channel;
      }
    },
    send: (payload) => room.push("tick", payload),
    sendAll: (payloads) => sendAcknowledged(payloads, (payload) => answered(room.push("tick", payload))),
    close: () => new Promise((resolve) => socket.disconnect(resolve)),
  };
});
