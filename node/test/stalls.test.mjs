// An event loop that is blocked: the connection lives, and the application hears for how long, and in which handler.
import assert from "node:assert/strict";
import { test } from "node:test";
import { collect, connected, next, startProxy, startServer } from "./support.mjs";

const BLOCK_MS = 1500;
// Shorter than the block: a client whose heartbeat stood still with its loop would lose the connection.
const HEARTBEAT = { interval: 100, timeout: 1000 };

/** Blocking the loop is what is tested. */
function block() {
  const until = performance.now() + BLOCK_MS;
  while (performance.now() < until);
}

async function setUp(t) {
  const server = await startServer(t);
  const proxy = await startProxy(t, server.url);
  const client = await connected(t, proxy.url, { heartbeat: HEARTBEAT });
  const room = await client.channel("room").subscribe().ready();
  return { server, proxy, client, room };
}

/** What the event tells; the connection has lived all the time. */
async function stalledHandler({ client, proxy }) {
  const [duration, handler] = await next(client, "stalled");
  assert.ok(duration >= 1000, `${duration} ms`);
  assert.ok(client.isConnected);
  assert.equal(client.getStats().reconnects, 0);
  assert.deepEqual([proxy.connections, proxy.cuts], [1, 0]);
  return handler;
}

test("a handler that blocks is named", async (t) => {
  const all = await setUp(t);
  all.room.on("said", function onSaid() {
    block();
  });
  all.server.publish("room", "said", 1);
  assert.deepEqual(await stalledHandler(all), { channel: "room", event: "said", name: "onSaid" });
});

test("a handler that blocks is named beside others", async (t) => {
  const all = await setUp(t);
  const before = collect(all.room, "said");
  const onSaid = (n) => n === 2 && block();
  all.room.on("said", onSaid);
  const after = collect(all.room, "said");
  collect(all.client, "message");
  for (let n = 1; n <= 3; n++) all.server.publish("room", "said", n);
  assert.deepEqual(await stalledHandler(all), { channel: "room", event: "said", name: "onSaid" });
  await Promise.all([before.reach(3), after.reach(3)]);
});

test("a handler of the client that blocks is named", async (t) => {
  const all = await setUp(t);
  all.client.on("news", () => block());
  all.server.sendToAll("news", 1);
  assert.deepEqual(await stalledHandler(all), { channel: undefined, event: "news", name: "" });
});

test("an async handler that blocks before its first await is named, also behind another", async (t) => {
  const all = await setUp(t);
  let release;
  const released = new Promise((resolve) => (release = resolve));
  all.room.on("said", async function onSaid(n) {
    if (n === 2) block();
    await released;
  });
  all.server.publish("room", "said", 1);
  all.server.publish("room", "said", 2);
  const last = collect(all.room, "last");
  all.server.publish("room", "last", 0);
  const stalled = stalledHandler(all);
  release();
  assert.deepEqual(await stalled, { channel: "room", event: "said", name: "onSaid" });
  await last.reach(1);
});

test("a loader that blocks is named", async (t) => {
  const all = await setUp(t);
  const other = all.client.channel("other");
  other.onGap(
    function load() {
      block();
    },
    { initial: true },
  );
  other.subscribe();
  assert.deepEqual(await stalledHandler(all), { channel: "other", event: "gap", name: "load" });
});

test("a block outside of handlers is unknown, also while a handler waits", async (t) => {
  const all = await setUp(t);
  let release;
  const released = new Promise((resolve) => (release = resolve));
  all.room.on("said", () => released);
  const got = collect(all.room, "said");
  all.server.publish("room", "said", 1);
  await got.reach(1);
  const stalled = stalledHandler(all);
  all.server.publish("room", "said", 2);
  release();
  block();
  assert.equal(await stalled, undefined);
  await got.reach(2);
});

test("a block is noticed where nothing comes meanwhile", async (t) => {
  const all = await setUp(t);
  const stalled = stalledHandler(all);
  block();
  assert.equal(await stalled, undefined);
});

test("each stall has its own handler", async (t) => {
  const all = await setUp(t);
  all.room.on("said", () => block());
  all.server.publish("room", "said", 1);
  assert.equal((await stalledHandler(all)).event, "said");
  const second = stalledHandler(all);
  block();
  assert.equal(await second, undefined);
});
