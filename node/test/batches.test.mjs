// What happens in the middle of a batch: handlers that throw, close, come and go; payloads that are no JSON; sizes over the bound.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RealtimeError } from "realtime-client";
import { collect, connected, next, v1Backend, within } from "./support.mjs";

const line = (payload, offset, channel = "room", event = "n") =>
  `{"type":"message","channel":"${channel}","event":"${event}","offset":${offset},"timestamp":1,"payload":${payload}}`;

/** The numbers from 1 on, a message each, in one frame: they come in one batch. */
const numbers = (count) => Array.from({ length: count }, (_, n) => line(n + 1, n + 1)).join("\n");

/** A client whose backend answers subscriptions; `send` sends it frames. */
async function world(t, channels = ["room"]) {
  let socket;
  const url = await v1Backend(t, (message, send, to) => {
    socket = to;
    if (message.type === "subscribe") {
      send({ type: "subscribed", id: message.id, channel: message.channel, epoch: "e", offset: 0 });
    } else if (message.type === "unsubscribe") {
      send({ type: "unsubscribed", id: message.id, channel: message.channel });
    } else if (message.type === "publish") send({ type: "receipt", id: message.id, epoch: "e", offset: 1000 });
  });
  const client = await connected(t, url);
  const rooms = channels.map((name) => client.channel(name).subscribe());
  await within(Promise.all(rooms.map((room) => room.ready())), "subscribing");
  const errors = collect(client, "error");
  return { client, rooms, room: rooms[0], errors, send: (frame) => socket.send(frame) };
}

const upTo = (count) => Array.from({ length: count }, (_, n) => n + 1);

/** A message behind the batch: once it is here, all of that was. */
async function settled({ send, client }) {
  send('{"type":"direct","event":"after","payload":1}');
  await next(client, "after");
}

test("handlers that throw whatever can be thrown, in the middle of a batch", async (t) => {
  const hidden = {
    toString() {
      throw new Error("no text");
    },
  };
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const unreadable = Object.defineProperty(new Error(), "message", {
    get() {
      throw new Error("unreadable");
    },
  });
  const thrown = [
    new Error("bad"),
    undefined,
    null,
    "text",
    Symbol("s"),
    Object.create(null),
    hidden,
    proxy,
    unreadable,
  ];
  const here = await world(t);
  const [before, after] = [[], []];
  here.room.on("n", (n) => void before.push(n));
  here.room.on("n", (n) => {
    if (n % 10 === 0) throw thrown[n / 10 - 1];
  });
  here.room.on("n", async (n) => {
    if (n % 10 === 5) throw thrown[(n - 5) / 10];
  });
  here.room.on("n", (n) => void after.push(n));
  here.send(numbers(94));
  await here.errors.reach(2 * thrown.length);
  await settled(here);
  assert.deepEqual(before, upTo(94));
  assert.deepEqual(after, upTo(94));
  assert.equal(here.errors.items.length, 2 * thrown.length);
  for (const error of here.errors.items) {
    assert.ok(error instanceof RealtimeError);
    assert.equal(error.code, "handler_failed");
  }
  assert.ok(here.errors.items.some((error) => error.cause === unreadable));
  assert.ok(here.errors.items.some((error) => error.cause === hidden));
});

test("an error handler that throws what cannot be told, in the middle of a batch", async (t) => {
  const here = await world(t);
  const seen = collect(here.room, "n");
  here.client.on("error", () => {
    throw Object.create(null);
  });
  here.room.on("n", (n) => {
    if (n === 3) throw new Error("bad");
  });
  here.send(numbers(10));
  await seen.reach(10);
  assert.equal(here.errors.items.length, 1);
});

test("handlers that come and go in the middle of a batch", async (t) => {
  const here = await world(t, ["room", "other"]);
  const [first, second, gone, other] = [[], [], [], []];
  const leave = here.room.on("n", (n) => void gone.push(n));
  here.room.on("n", (n) => {
    first.push(n);
    if (n === 3) here.room.on("n", (n) => void second.push(n));
    if (n === 5) leave();
    if (n === 6) here.rooms[1].on("n", (n) => void other.push(n));
  });
  const frame = upTo(10).flatMap((n) => [line(n, n), line(n, n, "other")]);
  here.send(frame.join("\n"));
  await settled(here);
  assert.deepEqual(first, upTo(10));
  assert.deepEqual(second, [4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(gone, [1, 2, 3, 4, 5]);
  assert.deepEqual(other, [6, 7, 8, 9, 10]);
});

test("unsubscribing one of two channels in the middle of a batch, and subscribing to it again", async (t) => {
  const here = await world(t, ["room", "other"]);
  const [room, other] = here.rooms;
  const [left, stayed] = [[], []];
  room.on("n", (n) => {
    left.push(n);
    if (n !== 4) return;
    room.unsubscribe();
    room.subscribe();
  });
  other.on("n", (n) => void stayed.push(n));
  here.send(
    upTo(10)
      .flatMap((n) => [line(n, n), line(n, n, "other")])
      .join("\n"),
  );
  await settled(here);
  await within(room.ready(), "subscribing again");
  assert.deepEqual(stayed, upTo(10));
  assert.deepEqual(left.slice(0, 4), [1, 2, 3, 4]);
  assert.equal(new Set(left).size, left.length, "none came twice");
  here.send(line(11, 1));
  await settled(here);
  assert.equal(left.at(-1), 11);
});

test("unsubscribing drops what waits for an async handler", async (t) => {
  const here = await world(t);
  const seen = [];
  here.room.on("n", async (n) => {
    seen.push(n);
    await null;
    if (n === 3) here.room.unsubscribe();
  });
  const idle = next(here.room, "state", (state) => state === "idle");
  here.send(numbers(10));
  await idle;
  await settled(here);
  assert.deepEqual(seen, [1, 2, 3]);
  await within(here.room.subscribe().ready(), "subscribing again");
  here.send(line(11, 1));
  await settled(here);
  assert.deepEqual(seen, [1, 2, 3, 11]);
  assert.equal(here.client.getStats().unconsumedBytes, 0);
});

test("a channel that is left while its subscription is in the batch", async (t) => {
  const url = await v1Backend(t, (message, send) => {
    const { type, id, channel } = message;
    const subscribed = (id, channel) =>
      `{"type":"subscribed","id":${id},"channel":"${channel}","epoch":"e","offset":0}`;
    if (type === "unsubscribe") send({ type: "unsubscribed", id, channel });
    else if (channel === "room") send(subscribed(id, "room"));
    else if (channel === "other") {
      send([line(1, 1), subscribed(id, "other"), line(2, 1, "other"), line(3, 2)].join("\n"));
    }
  });
  const client = await connected(t, url);
  const [room, other] = [client.channel("room").subscribe(), client.channel("other")];
  const [seen, left] = [collect(room, "n"), []];
  room.once("n", () => other.unsubscribe());
  other.on("n", (n) => void left.push(n));
  await within(room.ready(), "subscribing");
  const idle = next(other, "state", (state) => state === "idle");
  other.subscribe();
  await seen.reach(2);
  await idle;
  assert.deepEqual(left, [], "no handler is called after unsubscribe()");
});

test("a channel that is left and subscribed again is not told of before", async (t) => {
  const { client, room } = await world(t);
  const states = [];
  room.on("state", (state) => void states.push(state));
  const before = client.getStats().bytesSent;
  room.unsubscribe();
  // Until the engine has said so to the server, and to this client, which has not had a turn to hear it.
  const end = Date.now() + 10_000;
  while (client.getStats().bytesSent === before) assert.ok(Date.now() < end);
  room.subscribe();
  // Whenever it is asked.
  while (room.state !== "subscribed") {
    room.ready().catch((error) => states.push(error.message));
    await new Promise(setImmediate);
  }
  await room.ready();
  assert.deepEqual(states, ["subscribing", "subscribed"]);
});

test("a handler that disconnects in the middle of a batch hears what had come, and nothing later", async (t) => {
  const here = await world(t);
  const seen = [];
  let closed;
  here.room.on("n", (n) => {
    assert.notEqual(here.client.status, "disconnected", `${n} after the end`);
    seen.push(n);
    if (n === 3) closed = here.client.disconnect().then(() => seen.push("closed"));
  });
  here.send(numbers(10));
  await next(here.client, "status", (status) => status === "disconnected");
  await closed;
  assert.deepEqual(seen, [...upTo(10), "closed"]);
});

test("a handler that sends in the middle of a batch, and one that opens a channel", async (t) => {
  const here = await world(t);
  const seen = [];
  const sends = [];
  here.room.on("n", (n) => {
    seen.push(n);
    sends.push(here.room.send("m", n));
    if (n === 5) here.client.channel("new").subscribe();
  });
  here.send(numbers(50));
  await settled(here);
  assert.deepEqual(seen, upTo(50));
  assert.equal((await within(Promise.all(sends), "receipts")).length, 50);
  await within(here.client.channel("new").ready(), "the new channel");
});

test("payloads that are no JSON fail alone, whatever they are", async (t) => {
  const here = await world(t);
  const seen = collect(here.room, "n");
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  // What begins and ends like a value comes to the host's parser; other payloads are found before, and are told with their gap.
  const bad = ["{bad}", "[1],[2]", '{}},"x":{}', "[1,]", "1-2", '"\\x"', '"\u0001"', '{},"x":{}', "[[1]", '{"a":1}}'];
  const frame = ['"é"', ...bad.flatMap((payload, n) => [payload, n]), deep, '"\\ud800"', '"end"'];
  here.send(frame.map((payload, n) => line(payload, n + 1)).join("\n"));
  await seen.reach(4 + bad.length);
  assert.equal(here.errors.items.length, bad.length);
  for (const error of here.errors.items) assert.equal(error.code, "malformed");
  assert.equal(here.client.getStats().malformed, bad.length);
  const data = seen.items.map((message) => message.data);
  assert.deepEqual(data.slice(0, 1 + bad.length), ["é", ...bad.keys()]);
  assert.equal(data.at(-2), "\ud800");
  assert.equal(data.at(-1), "end");
  seen.items.forEach(({ data, offset }) => typeof data === "number" && assert.equal(offset, 2 * data + 3));
});

test("bytes that are no text are no payload", async (t) => {
  const here = await world(t);
  const seen = collect(here.room, "n");
  const bytes = Buffer.from([line('"é1"', 1), line('"?"', 2), line('"3"', 3)].join("\n"));
  bytes[bytes.indexOf("?")] = 0xff;
  here.send(bytes);
  await seen.reach(2);
  assert.deepEqual(
    seen.items.map((message) => message.data),
    ["é1", "3"],
  );
  assert.deepEqual(
    here.errors.items.map((error) => error.code),
    ["malformed"],
  );
});

test("a record that nests deeper than any server allows", async (t) => {
  const deep = "[".repeat(50_000) + "]".repeat(50_000);
  const url = await v1Backend(t, (message, send) => {
    if (message.type !== "subscribe") return;
    const { id, channel, collection } = message;
    if (collection === undefined) return send({ type: "subscribed", id, channel, epoch: "e", offset: 0 });
    const of = { channel, collection };
    send({ type: "subscribed", id, ...of, epoch: "e", offset: 0 });
    send({ type: "snapshot", ...of, epoch: "e", offset: 0, part: 0, end: 0, records: [] });
    const head = `{"type":"change","channel":"${channel}","collection":"${collection}","op":"insert"`;
    send(`${head},"key":"a","offset":1,"timestamp":1,"payload":{"id":"a","deep":${deep}}}`);
    send(`${head},"key":"b","offset":2,"timestamp":1,"payload":{"id":"b"}}`);
    send('{"type":"direct","event":"after","payload":1}');
  });
  const client = await connected(t, url);
  const after = next(client, "after");
  const tasks = client.channel("room").collection("tasks");
  await after;
  assert.deepEqual(tasks.get("b"), { id: "b" });
});

test("messages of all sizes around the bound of a batch, whole and in order", async (t) => {
  const here = await world(t);
  const seen = collect(here.room, "n");
  const sizes = [1, 95 << 10, 1, 97 << 10, 1, 1, 5 << 20, 1, 96 << 10, (96 << 10) - 1, 2];
  const texts = sizes.map((size, n) => String.fromCharCode(97 + n).repeat(size));
  here.send(texts.map((text, n) => line(JSON.stringify(text), n + 1)).join("\n"));
  for (const [n, text] of texts.entries()) here.send(line(JSON.stringify(text), texts.length + n + 1));
  await seen.reach(2 * texts.length);
  seen.items.forEach(({ data, offset }, n) => {
    assert.equal(offset, n + 1);
    assert.ok(data === texts[n % texts.length], `message ${n + 1} has ${data.length} bytes`);
  });
});

test("one frame with more messages than a batch has room for", async (t) => {
  const here = await world(t);
  const seen = [];
  here.room.on("n", (n, { offset }) => void seen.push([n, offset]));
  const padding = "x".repeat(50);
  here.send(
    upTo(9000)
      .map((n) => (n % 3 ? line(n, n) : line(`["${padding}",${n}]`, n)))
      .join("\n"),
  );
  await settled(here);
  assert.equal(seen.length, 9000);
  seen.forEach(([data, offset], at) =>
    assert.deepEqual([offset, data], [at + 1, (at + 1) % 3 ? at + 1 : [padding, at + 1]]),
  );
});
