// Compiled, never run: the same types from CommonJS.
import client = require("realtime-client");
import testing = require("realtime-client/testing");

export const made: client.WebSocketClient = new client.WebSocketClient({ url: "ws://localhost" });
export const server: testing.RealtimeServer = new testing.RealtimeServer();
// @ts-expect-error no such name
export const nothing = client.Nothing;
