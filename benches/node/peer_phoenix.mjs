// phoenix over ws: every push is acknowledged.
import { Socket } from "phoenix";
import WebSocket from "ws";
import { run, sendAcknowledged } from "./common.mjs";

const answered = (push) => new Promise((resolve, reject) => push.receive("ok", resolve).receive("error", reject));

await run(() => {
  let socket, room;
  const request = (payload) => answered(room.push("tick", payload));
  return {
    async open(of, handlers) {
      const soon = of.cuts ? { reconnectAfterMs: () => 1, rejoinAfterMs: () => 1 } : {};
      socket = new Socket(of.url("phoenix"), { transport: WebSocket, ...soon });
      socket.connect();
      for (const [name, handler] of handlers) {
        const channel = socket.channel(name);
        channel.on("tick", handler);
        await answered(channel.join());
        room ??= channel;
      }
    },
    send: (payload) => room.push("tick", payload),
    request,
    sendAll: (payloads) => sendAcknowledged(payloads, request),
    close: () => new Promise((resolve) => socket.disconnect(resolve)),
  };
});
