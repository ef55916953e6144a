// centrifuge over ws: every publication is acknowledged.
import { Centrifuge } from "centrifuge";
import WebSocket from "ws";
import { run, sendAcknowledged } from "./common.mjs";

await run(() => {
  let client, room;
  return {
    async open(of, handlers) {
      client = new Centrifuge(of.url("centrifuge"), { websocket: WebSocket });
      client.connect();
      for (const [name, handler] of handlers) {
        const subscription = client.newSubscription(name);
        subscription.on("publication", ({ data }) => handler(data));
        const subscribed = new Promise((resolve) => subscription.on("subscribed", resolve));
        subscription.subscribe();
        await subscribed;
        room ??= subscription;
      }
    },
    send: (payload) => room.publish(payload),
    sendAll: (payloads) => sendAcknowledged(payloads, (payload) => room.publish(payload)),
    close: () => client.disconnect(),
  };
});
