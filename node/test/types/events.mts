// Compiled, never run: what the types accept and refuse.
import {
  RealtimeError,
  WebSocketClient,
  realtimeManager,
  type ChannelMessage,
  type Gap,
  type Receipt,
  type StalledHandler,
  type Status,
} from "realtime-client";
import { FaultProxy, RealtimeServer } from "realtime-client/testing";

interface Events {
  tick: { n: number };
  said: string;
  frame: Uint8Array;
}

type Own = { hello: { name: string } };

export async function accepted(): Promise<void> {
  await using client = new WebSocketClient<Own>({
    url: "wss://example.test",
    token: async () => "t",
    reconnect: false,
  });
  client.on("status", (status: Status, { retryIn }) => [status, retryIn?.toFixed()]);
  client.once("error", (error: RealtimeError) => error.retryAfter?.toFixed());
  client.on("binary", (data) => data.readUInt8(0));
  client.on("message", ({ channel, data }) => [channel?.length, data]);
  client.on("hello", ({ name }, message) => [name.length, message.event satisfies "hello"]);
  client.on("stalled", async (duration) => duration.toFixed());
  client.on("stalled", (_, handler: StalledHandler | undefined) => [handler?.channel, handler?.event, handler?.name]);
  await client.connect();
  const channel = client.channel<Events>("room").subscribe();
  const remove: () => void = channel.on("tick", ({ n }, message: ChannelMessage<{ n: number }, "tick">) => [
    n,
    message,
  ]);
  remove();
  channel.on("gap", (gap: Gap) => gap.from?.toFixed());
  channel.on("state", (state, error) => [state satisfies string, error?.code]);
  const receipt: Receipt = await channel.send("tick", { n: 1 });
  receipt.offset?.toFixed();
  await channel.send("frame", Buffer.of(1));
  await client.send("hello", { name: "x" });
  await client.sendBinary(new Uint8Array(2));
  for await (const message of channel) {
    if (message.event === "said") message.data.toUpperCase();
    if (message.event === "tick") message.data.n.toFixed();
  }
  const loose = client.channel("loose");
  loose.on("anything", (data) => data.whatever);
  await loose.send("anything", [1, 2]);
  realtimeManager.initialize("ws://localhost", { heartbeat: { interval: 1000 } });
  realtimeManager.channel<Events>("room").off("tick");
  await using server = await new RealtimeServer({ port: 0 }).start();
  const proxy = new FaultProxy(server.url);
  await proxy.start();
  client.getStats().latency?.toFixed();
}

export function refused(client: WebSocketClient<Own>): void {
  const channel = client.channel<Events>("room");
  // @ts-expect-error no such event
  channel.on("tock", () => {});
  // @ts-expect-error the payload is an object
  channel.on("tick", (data: string) => data);
  // @ts-expect-error the payload lacks n
  void channel.send("tick", {});
  // @ts-expect-error no such event
  void channel.send("tock", 1);
  // @ts-expect-error the handler of an own event
  client.on("status", (status: number) => status);
  // @ts-expect-error the payload of a declared type
  client.on("hello", (payload: number) => payload);
  // @ts-expect-error no such type
  client.on("bye", () => {});
  // @ts-expect-error url is needed
  new WebSocketClient({});
  // @ts-expect-error no such option
  new WebSocketClient({ url: "", onOpen: () => {} });
  // @ts-expect-error no such policy
  new WebSocketClient({ url: "", queue: { whenFull: "explode" } });
  // @ts-expect-error read only
  client.status = "connected";
  // @ts-expect-error bytes only
  void client.sendBinary("text");
  // @ts-expect-error the declared type's payload
  void client.send("hello", 5);
}
