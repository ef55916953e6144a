// socket.io-client over WebSocket only: rooms as events; acknowledgements where they are asked for.
import { io } from "socket.io-client";
import { run, sendInBursts } from "./common.mjs";

await run(() => {
  let socket;
  const send = (payload) => socket.emit("tick", payload);
  return {
    async open(of, handlers) {
      socket = io(`http://127.0.0.1:${of.port}`, {
        path: of.path("socketio"),
        transports: ["websocket"],
        forceNew: true,
        reconnection: of.cuts,
        reconnectionDelay: 1,
        randomizationFactor: 0,
      });
      for (const [name, handler] of handlers) socket.on(name, handler);
      await new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject));
      for (const name of handlers.keys()) socket.emit("subscribe", name);
    },
    send,
    request: (payload) => socket.emitWithAck("tick", payload),
    sendAll: (payloads) => sendInBursts(payloads, send, () => socket.io.engine.writeBuffer.length * 128),
    close: () => socket.disconnect(),
  };
});
