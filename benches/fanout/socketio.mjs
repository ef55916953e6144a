// A Socket.IO server that hands messages on to a room, as its documentation says. Prints the URL that it listens on.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
// Signs of life come quicker than they would, so that the bench sees several.
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  pingInterval: 2000,
  pingTimeout: 6000,
});

io.on("connection", (socket) => {
  socket.on("subscribe", (room, done) => {
    socket.join(room);
    done();
  });
  socket.on("channel_message", (room, event, payload) => {
    io.to(room).emit(event, payload);
  });
});

http.listen(0, "127.0.0.1", () => console.log(`ws://127.0.0.1:${http.address().port}`));
process.on("SIGTERM", () => process.exit(0));
