// Servers that speak realtime.v1, but not well.
import assert from "node:assert/strict";
import { test } from "node:test";
import { collect, connected, newClient, next, v1Backend, within } from "./support.mjs";

const line = (offset, payload) =>
  `{"type":"message","channel":"room","event":"said","offset":${offset},"timestamp":1,"payload":${payload}}`;

/** Answers a subscribe as it should be, then says this. */
const afterSubscribed = (say) => (message, send, socket) => {
  if (message.type !== "subscribe") return;
  send({ type: "subscribed", id: message.id, channel: "room", epoch: "e", offset: message.since?.offset ?? 0 });
  say(send, socket, message);
};

test("unknown types do no harm, what is not JSON is an error event, the rest arrives", async (t) => {
  const url = await v1Backend(
    t,
    afterSubscribed((send) => {
      send({ type: "horoscope", sign: "leo" });
      send("{not json");
      send({ type: "message", channel: "room" });
      send({ type: "error", code: "internal", message: "nothing to do with you" });
      send({ type: "error", code: "brand_new", message: "from the future" });
      send([line(1, "1"), "", line(2, "2")].join("\n"));
    }),
  );
  const client = await connected(t, url);
  const errors = collect(client, "error");
  const room = client.channel("room").subscribe();
  const said = collect(room, "said");
  await said.reach(2);
  assert.deepEqual(
    said.items.map((message) => message.data),
    [1, 2],
  );
  assert.deepEqual(
    errors.items.map((error) => error.code).filter((code) => code !== "unknown_type"),
    ["malformed", "malformed", "internal", "refused"],
  );
  assert.ok(client.isConnected);
});

test("what comes again is dropped, what is skipped is a gap", async (t) => {
  const url = await v1Backend(
    t,
    afterSubscribed((send) => send([1, 2, 2, 1, 5, 6].map((n) => line(n, n)).join("\n"))),
  );
  const client = await connected(t, url);
  const room = client.channel("room").subscribe();
  const [said, gap] = [collect(room, "said"), next(room, "gap")];
  await said.reach(4);
  assert.deepEqual(
    said.items.map((message) => message.data),
    [1, 2, 5, 6],
  );
  const [{ reason, from, to, epoch }] = await gap;
  assert.deepEqual({ reason, from, to, epoch }, { reason: "missing", from: 3, to: 4, epoch: "e" });
  assert.equal(client.getStats().duplicates, 2);
});

test("text that is not UTF-8 ends the connection, and the client comes back", async (t) => {
  let times = 0;
  const url = await v1Backend(
    t,
    afterSubscribed((send, socket, { since }) => {
      if (++times === 1) socket.send(Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), { binary: false });
      else send(line((since?.offset ?? 0) + 1, '"well"'));
    }),
  );
  const client = await connected(t, url);
  const room = client.channel("room").subscribe();
  const said = collect(room, "said");
  await said.reach(1);
  assert.equal(said.items[0].data, "well");
  assert.equal(times, 2);
});

test("bytes of an unknown kind, and bytes that are too few", async (t) => {
  const url = await v1Backend(
    t,
    afterSubscribed((send, socket) => {
      socket.send(Buffer.from([0x63, 0, 1, 2, 3]));
      socket.send(Buffer.from([0x02, 0, 1]));
      socket.send(Buffer.alloc(0));
      send(line(1, '"fine"'));
    }),
  );
  const client = await connected(t, url);
  const errors = collect(client, "error");
  const said = collect(client.channel("room").subscribe(), "said");
  await said.reach(1);
  assert.ok(errors.items.length >= 1);
  assert.ok(errors.items.every((error) => ["malformed", "unknown_type"].includes(error.code)));
  assert.ok(client.isConnected);
});

test("a frame larger than the client takes", async (t) => {
  let times = 0;
  const url = await v1Backend(
    t,
    afterSubscribed((send) => {
      if (++times === 1) send(line(1, JSON.stringify("x".repeat(80 << 20))));
      else send(line(1, '"small"'));
    }),
  );
  const client = newClient(t, url);
  await client.connect();
  const said = collect(client.channel("room").subscribe(), "said");
  await within(said.reach(1), "a message");
  assert.equal(said.items[0].data, "small");
  assert.equal(times, 2);
});
