// centrifuge over ws: every publication is acknowledged.
import { Centrifuge } from "centrifuge";
import WebSocket from "ws";
import { run, sendAcknowledged } from "./common.mjs";

await run(() => {
  let client, room;
  const send = (payload) => room.publish(payload);
  return {
    async open(of, handlers) {
      const soon = of.cuts ? { minReconnectDelay: 1, maxReconnectDelay: 1 } : {};
      client = new Centrifuge(of.url("centrifuge"), { websocket: WebSocket, ...soon });
      client.connect();
      for (const [name, handler] of handlers) {
        const subscription = client.newSubscription(name);
        subscription.on("publication", ({ data }) => handler(data));
        const subscribed = new Promise((resolve) => subscription.once("subscribed", resolve));
        subscription.subscribe();
        await subscribed;
        room ??= subscription;
      }
    },
    send,
    request: send,
    sendAll: (payloads) => sendAcknowledged(payloads, send),
    close: () => client.disconnect(),
  };
});
