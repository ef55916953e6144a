import assert from "node:assert/strict";
import { test } from "node:test";
import { RealtimeError } from "realtime-client";
import { collect, connected, newClient, next, startProxy, startServer, v1Backend, within } from "./support.mjs";

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

test("what one sends the others get, with a receipt for the sender", async (t) => {
  const server = await startServer(t);
  const [alice, bob] = [await connected(t, server.url), await connected(t, server.url)];
  const room = bob.channel("room").subscribe();
  const said = collect(room, "said");
  await room.ready();
  assert.equal(room.state, "subscribed");
  const receipt = await alice.channel("room").send("said", { text: "hällo", list: [1, null, "\u2028"] });
  assert.equal(receipt.channel, "room");
  assert.equal(receipt.offset, 1);
  assert.equal(receipt.duplicate, false);
  assert.equal(receipt.acknowledged, true);
  assert.match(receipt.epoch, /./);
  await said.reach(1);
  const [message] = said.items;
  assert.deepEqual(message.data, { text: "hällo", list: [1, null, "\u2028"] });
  assert.equal(message.channel, "room");
  assert.equal(message.event, "said");
  assert.equal(message.binary, false);
  assert.equal(message.offset, 1);
  assert.ok(Math.abs(message.timestamp - Date.now()) < 60_000);
});

test("bytes arrive as bytes, in order with the rest", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room").subscribe();
  const frames = collect(room, "frame");
  await room.ready();
  const bytes = Buffer.from([0, 255, 10, 34, 123]);
  const words = new Uint16Array([1, 2, 3]).subarray(1);
  void room.send("frame", bytes);
  void room.send("frame", "text");
  void room.send("frame", words);
  void room.send("frame", new ArrayBuffer(0));
  void room.send("frame", "after");
  bytes.fill(7);
  await frames.reach(5);
  assert.deepEqual(
    frames.items.map((message) => (message.binary ? [...message.data] : message.data)),
    [[0, 255, 10, 34, 123], "text", [2, 0, 3, 0], [], "after"],
  );
  assert.ok(Buffer.isBuffer(frames.items[0].data));
});

test("names: any UTF-8 up to 255 bytes, and nothing that a plain object knows is special", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const names = [
    "__proto__",
    "constructor",
    "toString",
    "with space",
    'quo"te',
    "line\nbreak",
    "nul\0",
    "ü".repeat(127),
    " ",
  ];
  for (const name of names) {
    const channel = client.channel(name).subscribe();
    assert.equal(client.channel(name), channel);
    const got = collect(channel, name);
    await channel.ready();
    const receipt = await channel.send(name, name);
    assert.equal(receipt.channel, name);
    await got.reach(1);
    assert.deepEqual([got.items[0].channel, got.items[0].event, got.items[0].data], [name, name, name]);
  }
  for (const bad of ["", "x".repeat(256), "ü".repeat(128), "\ud800", 5, null, undefined]) {
    assert.throws(() => client.channel(bad), { code: "invalid_name" });
    await assert.rejects(client.channel("room").send(bad, 1), { code: "invalid_name" });
  }
});

test("a channel is subscribed before the client connects, and sends wait for the connection", async (t) => {
  const server = await startServer(t);
  const client = newClient(t, server.url);
  const room = client.channel("room").subscribe();
  const said = collect(room, "said");
  const ready = room.ready();
  const receipts = [room.send("said", 1), room.send("said", 2)];
  await client.connect();
  await ready;
  assert.deepEqual(
    (await Promise.all(receipts)).map((receipt) => receipt.offset),
    [1, 2],
  );
  await said.reach(2);
});

test("unsubscribe: nothing comes any more, and subscribe starts again", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room").subscribe();
  const said = collect(room, "said");
  await room.ready();
  const idle = next(room, "state", (state) => state === "idle");
  room.unsubscribe();
  await assert.rejects(room.ready(), { code: "closed" });
  await room.send("said", "unheard");
  await idle;
  assert.equal(room.state, "idle");
  await room.subscribe().ready();
  await room.send("said", "heard");
  await said.reach(1);
  assert.deepEqual(
    said.items.map((message) => message.data),
    ["heard"],
  );
});

test("a channel that the server refuses", async (t) => {
  const server = await startServer(t, { maxChannels: 1 });
  const client = await connected(t, server.url);
  await client.channel("first").subscribe().ready();
  const second = client.channel("second").subscribe();
  const failed = next(second, "state", (state) => state === "failed");
  await assert.rejects(second.ready(), { code: "too_many_channels" });
  assert.equal((await failed)[1].code, "too_many_channels");
  await assert.rejects(second.ready(), { code: "too_many_channels" });
  await assert.rejects(
    (async () => {
      for await (const _ of second);
    })(),
    { code: "too_many_channels" },
  );
  client.channel("first").unsubscribe();
  await second.subscribe().ready();
  const heard = next(second, "said");
  await second.send("said", 1);
  await heard;
});

test("a loop that asks ahead", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room").subscribe();
  const iterator = room[Symbol.asyncIterator]();
  await room.ready();
  const asked = [iterator.next(), iterator.next(), iterator.next()];
  for (let n = 0; n < 4; n++) server.publish("room", "said", n);
  const results = await within(Promise.all(asked), "three messages");
  assert.deepEqual(
    results.map(({ value }) => value.data),
    [0, 1, 2],
  );
  assert.equal((await within(iterator.next(), "the fourth")).value.data, 3);
  assert.deepEqual(await iterator.return(), { done: true, value: undefined });
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
  await room.send("other", 1);
  await client.channel("other").send("said", 1);
  assert.equal(client.getStats().unconsumedBytes, 0);
});

test("exactly once and in order, over cuts in mid-stream", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server.url);
  const client = await connected(t, proxy.url);
  const count = 3000;
  const channels = ["a", "b", "c"].map((name) => client.channel(name).subscribe());
  const got = channels.map((channel) => collect(channel, "n"));
  await Promise.all(channels.map((channel) => channel.ready()));
  const sends = [];
  for (let n = 1; n <= count; n++) {
    for (const channel of channels) sends.push(channel.send("n", n % 3 === 0 ? Buffer.from(String(n)) : n));
    if (n % 500 === 0) {
      await Promise.race(sends.slice(-1));
      proxy.cutConnections();
    }
  }
  const receipts = await within(Promise.all(sends), "all receipts", 30_000);
  await Promise.all(got.map((each) => each.reach(count)));
  for (const each of got) {
    assert.deepEqual(
      each.items.map((message) => Number(message.data)),
      range(1, count),
    );
    assert.deepEqual(
      each.items.map((message) => message.offset),
      range(1, count),
    );
  }
  assert.ok(receipts.every((receipt) => receipt.acknowledged));
  const stats = client.getStats();
  assert.ok(stats.reconnects >= 3, `${stats.reconnects} reconnects`);
  assert.ok(proxy.cuts >= 3);
  assert.equal(stats.gaps, 0);
});

test("a gap says what is missing", async (t) => {
  const server = await startServer(t, { historyMessages: 10 });
  const proxy = await startProxy(t, server.url);
  const client = await connected(t, proxy.url);
  const room = client.channel("room").subscribe();
  const said = collect(room, "said");
  await room.ready();
  server.publish("room", "said", 1);
  await said.reach(1);
  proxy.cut();
  await next(client, "close");
  for (let n = 2; n <= 30; n++) server.publish("room", "said", n);
  const gap = next(room, "gap");
  proxy.restore();
  const [{ reason, from, to }] = await gap;
  assert.deepEqual({ reason, from, to }, { reason: "evicted", from: 2, to: 20 });
  await said.reach(11);
  assert.deepEqual(
    said.items.map((message) => message.data),
    [1, ...range(21, 30)],
  );
});

test("for await takes everything in order, and break ends it", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room");
  const seen = [];
  const loop = (async () => {
    for await (const message of room) {
      seen.push(message.data);
      if (message.data === 99) break;
    }
  })();
  assert.equal(room.state, "subscribing", "the loop subscribes");
  await room.ready();
  for (let n = 0; n < 100; n++) server.publish("room", "said", n);
  await within(loop, "the end of the loop");
  assert.deepEqual(seen, range(0, 99));
  server.publish("room", "said", 100);
  await room.send("said", 101);
  assert.equal(seen.length, 100);
});

test("loops end with the subscription and with the client", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const count = async (channel) => {
    let seen = 0;
    for await (const _ of channel) seen++;
    return seen;
  };
  const [left, open] = [client.channel("left").subscribe(), client.channel("open").subscribe()];
  const loops = [count(left), count(open)];
  await Promise.all([left.ready(), open.ready()]);
  await open.send("said", 1);
  left.unsubscribe();
  assert.equal(await within(loops[0], "the first loop"), 0);
  await client.disconnect();
  assert.equal(await within(loops[1], "the second loop"), 1);
});

test("a slow loop slows the sender down, and nothing is lost", async (t) => {
  const server = await startServer(t, { historyMessages: 100_000, historyBytes: 64 << 20 });
  const client = await connected(t, server.url, { inbox: { bytes: 64 << 10, channelBytes: 16 << 10 } });
  const room = client.channel("room").subscribe();
  const iterator = room[Symbol.asyncIterator]();
  await room.ready();
  const text = "x".repeat(1000);
  for (let n = 0; n < 1000; n++) server.publish("room", "said", { n, text });
  await within(iterator.next(), "the first message");
  // A receipt comes behind everything that the server was willing to send.
  await client.channel("other").send("said", 1);
  const { unconsumedBytes, messagesReceived } = client.getStats();
  assert.ok(unconsumedBytes > 0 && unconsumedBytes < 32 << 10, `${unconsumedBytes} bytes`);
  assert.ok(messagesReceived < 40, `${messagesReceived} messages`);
  for (let n = 1; n < 1000; n++) {
    const { value } = await within(iterator.next(), `message ${n}`);
    assert.equal(value.data.n, n);
  }
  await iterator.return();
});

test("async handlers of a channel run one after the other, others do not wait", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const [slow, quick] = [client.channel("slow").subscribe(), client.channel("quick").subscribe()];
  await Promise.all([slow.ready(), quick.ready()]);
  const log = [];
  let release;
  const held = new Promise((resolve) => (release = resolve));
  slow.on("said", async (n) => {
    log.push(`begin ${n}`);
    if (n === 0) await held;
    await null;
    log.push(`end ${n}`);
  });
  const quickly = collect(quick, "said");
  for (let n = 0; n < 3; n++) server.publish("slow", "said", n);
  server.publish("quick", "said", 0);
  await quickly.reach(1);
  assert.deepEqual(log, ["begin 0"]);
  release();
  const done = collect(slow, "done");
  server.publish("slow", "done", 0);
  await done.reach(1);
  assert.deepEqual(log, ["begin 0", "end 0", "begin 1", "end 1", "begin 2", "end 2"]);
});

test("a handler that awaits its own sends does not deadlock, though its inbox is full", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url, {
    inbox: { bytes: 2048, channelBytes: 1024 },
    queue: { messages: 4 },
  });
  const room = client.channel("room").subscribe();
  await room.ready();
  const offsets = [];
  room.on("ask", async (n) => {
    const receipts = await Promise.all([1, 2, 3, 4, 5, 6].map(() => room.send("answer", "x".repeat(300))));
    offsets.push(receipts.length * n);
  });
  const answers = collect(room, "answer");
  for (let n = 0; n < 20; n++) server.publish("room", "ask", n);
  await answers.reach(120);
  assert.deepEqual(
    offsets,
    range(0, 19).map((n) => n * 6),
  );
});

test("integers above 2^53 lose digits on the way into JavaScript, others do not", async (t) => {
  const server = await v1Backend(t, (message, send) => {
    if (message.type !== "subscribe") return;
    send({ type: "subscribed", id: message.id, channel: "room", epoch: "e", offset: 0 });
    const head = '{"type":"message","channel":"room","event":"n","offset":1,"timestamp":1,"payload":';
    send(`${head}[9007199254740991,9007199254740993]}`);
  });
  const client = await connected(t, server);
  const room = client.channel("room").subscribe();
  const numbers = collect(room, "n");
  await numbers.reach(1);
  assert.deepEqual(numbers.items[0].data, [9007199254740991, 9007199254740992]);
});

test("one bad payload in a batch fails alone", async (t) => {
  const server = await v1Backend(t, (message, send) => {
    if (message.type !== "subscribe") return;
    send({ type: "subscribed", id: message.id, channel: "room", epoch: "e", offset: 0 });
    // The fourth is no payload but two keys, which any order may bring.
    const payloads = ['"one"', "{bad}", '"three"', '5,"x":6', "[", "]", "[1],[2]", '"eight"'];
    const line = (payload, index) =>
      `{"type":"message","channel":"room","event":"said","offset":${index + 1},"timestamp":1,"payload":${payload}}`;
    send(payloads.map(line).join("\n"));
  });
  const client = await connected(t, server);
  const errors = collect(client, "error");
  const room = client.channel("room").subscribe();
  const said = collect(room, "said");
  await said.reach(4);
  assert.deepEqual(
    said.items.map((message) => message.data),
    ["one", "three", 5, "eight"],
  );
  await errors.reach(4);
  assert.ok(errors.items.every((error) => error instanceof RealtimeError && error.code === "malformed"));
});

test("a message whose event is called gap or state is no event of ours", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room").subscribe();
  await room.ready();
  const [own, every] = [collect(room, "gap"), collect(client, "message")];
  await room.send("gap", "fooled you");
  await every.reach(1);
  assert.deepEqual([every.items[0].event, every.items[0].data], ["gap", "fooled you"]);
  assert.equal(own.items.length, 0);
});

/** A channel with a loader, and a server that keeps ten messages; `miss` loses the connection while so many are sent. */
async function gappy(t) {
  const server = await startServer(t, { historyMessages: 10 });
  const proxy = await startProxy(t, server.url);
  const client = newClient(t, proxy.url);
  const lost = () => next(client, "status", (status) => status === "reconnecting");
  const miss = async (count) => {
    const reconnecting = lost();
    proxy.cut();
    await reconnecting;
    for (const number of range(1, count)) server.publish("room", "said", number);
    proxy.restore();
  };
  await client.connect();
  return { server, client, channel: client.channel("room"), miss };
}

test("a snapshot is loaded after what came before a gap is handled, and before what follows", async (t) => {
  const { server, client, channel, miss } = await gappy(t);
  const log = [];
  let release;
  const slow = new Promise((resolve) => (release = resolve));
  channel.on("said", async (data) => {
    if (data === "before") await slow;
    log.push(data);
  });
  channel.onGap(async ({ reason, epoch, to }) => {
    log.push(reason, to);
    await new Promise(setImmediate);
    return { epoch, offset: 30 };
  });
  await channel.subscribe().ready();
  const before = next(channel, "said");
  server.publish("room", "said", "before");
  await before;
  const gap = next(channel, "gap");
  await miss(30);
  await gap;
  assert.deepEqual(log, []);
  release();
  const last = next(channel, "said", (data) => data === 30);
  await last;
  await new Promise(setImmediate);
  assert.deepEqual(log, ["before", "evicted", 21, 30]);
  assert.equal(client.getStats().covered, 9);
});

test("a loader is asked before a loop goes on, and its result is checked", async (t) => {
  const { client, channel, miss } = await gappy(t);
  const failed = next(client, "error", (error) => error.code === "handler_failed");
  channel.onGap(() => "27");
  const loop = channel[Symbol.asyncIterator]();
  await channel.ready();
  await miss(11);
  const [error] = await failed;
  assert.match(error.message, /a loader must return/);
  const { value } = await within(loop.next(), "a message");
  assert.deepEqual([value.data, value.offset], [2, 2]);
});

test("a channel has one loader, and it can end", async (t) => {
  const { channel, miss } = await gappy(t);
  const loads = [];
  const said = collect(channel, "said");
  const endFirst = channel.onGap(() => void loads.push("first"));
  const end = channel.onGap(({ reason }) => void loads.push(reason), { initial: true });
  endFirst();
  await channel.subscribe().ready();
  await miss(11);
  await said.reach(10);
  assert.deepEqual(loads, ["initial", "evicted"]);
  end();
  await miss(11);
  await said.reach(20);
  assert.deepEqual(loads, ["initial", "evicted"]);
  assert.throws(() => channel.onGap("load"), TypeError);
});
