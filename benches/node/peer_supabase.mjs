// @supabase/realtime-js over ws. Broadcasts are acknowledged where the channel asks for that, as in `request`.
import { RealtimeClient } from "@supabase/realtime-js";
import WebSocket from "ws";
import { run, sendInBursts } from "./common.mjs";

await run(() => {
  let client, room;
  const send = (payload) => room.send({ type: "broadcast", event: "tick", payload });
  return {
    async open(of, handlers) {
      const soon = of.cuts ? { reconnectAfterMs: () => 1 } : {};
      client = new RealtimeClient(of.url("supabase"), { transport: WebSocket, params: { apikey: "key" }, ...soon });
      const config = { broadcast: { ack: of.kind === "request" } };
      for (const [name, handler] of handlers) {
        const channel = client.channel(name, { config });
        channel.on("broadcast", { event: "tick" }, ({ payload }) => handler(payload));
        await new Promise((resolve, reject) =>
          channel.subscribe((status, error) => (status === "SUBSCRIBED" ? resolve() : error && reject(error))),
        );
        room ??= channel;
      }
    },
    send,
    request: send,
    sendAll: (payloads) => sendInBursts(payloads, send, () => client.conn?.bufferedAmount ?? 0),
    close: () => client.disconnect(),
  };
});
