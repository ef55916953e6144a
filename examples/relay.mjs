// A relay: any JSON WebSocket backend in forty lines, here on the npm package `ws`. It knows nothing of realtime-client.
// Whoever subscribed to a channel gets what is sent to it. `node relay.mjs [port]` prints the URL that it listens on.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2] ?? 0),
});
const channels = new Map(); // name → sockets

server.on("listening", () =>
  console.log(`ws://127.0.0.1:${server.address().port}`),
);
server.on("connection", (socket) => {
  socket.on("error", () => socket.terminate());
  socket.on("close", () => {
    for (const sockets of channels.values()) sockets.delete(socket);
  });
  socket.on("message", (data, isBinary) => {
    if (isBinary) return socket.send(data, { binary: true }); // bytes name no channel: they go back to their sender
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return answer(socket, "error", {
        code: "malformed",
        message: "not JSON",
      });
    }
    const { type, payload } = message ?? {};
    const sockets = channels.get(payload?.channel);
    if (type === "ping")
      send(socket, {
        type: "pong",
        timestamp: payload?.timestamp ?? message.timestamp,
      });
    else if (type === "subscribe")
      channels.set(payload.channel, (sockets ?? new Set()).add(socket));
    else if (type === "unsubscribe") sockets?.delete(socket);
    else if (type === "channel_message")
      for (const peer of sockets ?? [])
        answer(peer, payload.event, payload.payload, payload.channel);
    else answer(socket, type, payload); // any other type is for the backend itself: this one echoes it
  });
});

function answer(socket, type, payload, channel) {
  send(socket, { type, payload, timestamp: Date.now(), channel });
}

function send(socket, message) {
  socket.send(JSON.stringify(message));
}

process.on("SIGTERM", () => process.exit(0));
