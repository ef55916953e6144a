import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { RealtimeError } from "realtime-client";
import { backend, collect, connected, newClient, next, run, startProxy, startServer, within } from "./support.mjs";

const { Outbox } = createRequire(import.meta.url)("../dist/outbox.js");

test("payloads that JSON cannot carry are refused, and nothing is sent", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room");
  const cycle = {};
  cycle.self = cycle;
  const thrower = {
    toJSON: () => {
      throw new Error("no");
    },
  };
  const bad = [
    NaN,
    Infinity,
    { a: [1, -Infinity] },
    { deep: { nan: NaN } },
    1n,
    { big: [1n] },
    cycle,
    undefined,
    () => 1,
    Symbol("s"),
    thrower,
  ];
  for (const payload of bad) {
    await assert.rejects(room.send("said", payload), (error) => {
      assert.ok(error instanceof RealtimeError);
      assert.equal(error.code, "invalid_payload");
      return true;
    });
    await assert.rejects(client.send("said", payload), { code: "invalid_payload" });
  }
  await assert.rejects(client.sendBinary("text"), { code: "invalid_payload" });
  assert.equal((await room.send("said", { fine: null, text: "null" })).offset, 1, "nothing came before it");
  for (const payload of [null, false, 0, "", [], {}]) await room.send("said", payload);
});

test("a payload over the server's limit", async (t) => {
  const server = await startServer(t, { maxPayload: 1000 });
  const client = await connected(t, server.url);
  const room = client.channel("room");
  const sends = [room.send("said", "x".repeat(2000)), room.send("said", "small")];
  await assert.rejects(within(sends[0], "the refusal"), { code: "payload_too_large" });
  assert.equal((await sends[1]).offset, 1);
});

test("messages to the server itself", async (t) => {
  const server = await startServer(t, { echo: true });
  const client = await connected(t, server.url);
  const [pongs, bytes] = [collect(client, "hello"), collect(client, "binary")];
  const receipt = await client.send("hello", { a: 1 });
  assert.deepEqual(receipt, {
    channel: undefined,
    epoch: undefined,
    offset: undefined,
    duplicate: false,
    acknowledged: true,
  });
  await client.sendBinary(new Uint8Array([1, 2, 3]));
  await Promise.all([pongs.reach(1), bytes.reach(1)]);
  assert.deepEqual(pongs.items[0].data, { a: 1 });
  assert.equal(pongs.items[0].channel, undefined);
  assert.deepEqual([...bytes.items[0].data], [1, 2, 3]);
  assert.equal(server.sendToAll("hello", "from the server"), 1);
  await pongs.reach(2);
  const bare = await startServer(t);
  const refused = await connected(t, bare.url);
  await assert.rejects(refused.send("hello", 1), { code: "no_handler" });
});

test("a send that fails and that nobody awaits is an error event, not a crash", async () => {
  const { code, stdout, stderr } = await run(`
    import { WebSocketClient } from "realtime-client";
    const client = new WebSocketClient({ url: "ws://127.0.0.1:9" });
    client.on("error", (error) => console.log("error", error.code));
    const room = client.channel("room");
    room.send("said", NaN);
    room.send("", 1);
    const awaited = room.send("said", 2n);
    await awaited.catch((error) => console.log("awaited", error.code));
    await room.send("said", undefined).then(() => console.log("never"), (error) => console.log("then", error.code));
    const late = room.send("said", NaN);
    await new Promise((resolve) => setImmediate(resolve));
    await late.catch((error) => console.log("late", error.code));
    client.send("said", undefined).finally(() => console.log("finally")).catch(() => {});
  `);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  const lines = stdout.trim().split("\n").sort();
  const expected = ["awaited invalid_payload", "error invalid_name", "error invalid_payload", "error invalid_payload"];
  assert.deepEqual(lines, [...expected, "finally", "late invalid_payload", "then invalid_payload"].sort());
});

test("a full outbox: reject", async (t) => {
  const client = newClient(t, "ws://127.0.0.1:9", { queue: { messages: 5, whenFull: "reject" } });
  const room = client.channel("room");
  void client.connect().catch(() => {});
  const outcomes = Array.from({ length: 8 }, (_, n) => room.send("said", n).catch((error) => error.code));
  await within(Promise.all(outcomes.slice(5)), "the refusals");
  assert.deepEqual(await Promise.all(outcomes.slice(5)), ["queue_full", "queue_full", "queue_full"]);
  assert.equal(client.getStats().queued, 5);
});

test("a full outbox: dropOldest", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server.url);
  proxy.cut();
  const client = newClient(t, proxy.url, { queue: { messages: 5, whenFull: "dropOldest" } });
  const room = client.channel("room");
  void client.connect().catch(() => {});
  const outcomes = Array.from({ length: 8 }, (_, n) =>
    room.send("said", n).then(
      (receipt) => receipt.offset,
      (e) => e.code,
    ),
  );
  assert.deepEqual(await within(Promise.all(outcomes.slice(0, 3)), "the drops"), ["dropped", "dropped", "dropped"]);
  proxy.restore();
  assert.deepEqual(await within(Promise.all(outcomes), "the rest"), ["dropped", "dropped", "dropped", 1, 2, 3, 4, 5]);
});

test("what dropOldest drops, and reject rejects, is an event where nobody awaits it", async (t) => {
  for (const [whenFull, code, failed] of [
    ["dropOldest", "dropped", 2],
    ["reject", "queue_full", 0],
  ]) {
    const client = newClient(t, "ws://127.0.0.1:9", { queue: { messages: 3, whenFull } });
    const errors = collect(client, "error");
    for (let n = 0; n < 5; n++) void client.channel("room").send("said", n);
    await errors.reach(2);
    assert.deepEqual(
      errors.items.map((error) => error.code),
      [code, code],
    );
    const stats = client.getStats();
    assert.deepEqual([stats.failed, stats.queued], [failed, 3], whenFull);
  }
});

test("a full outbox: wait, in order, and up to a bound", async (t) => {
  const server = await startServer(t);
  const client = newClient(t, server.url, { queue: { messages: 10 } });
  const room = client.channel("room");
  const outcomes = Array.from({ length: 130 }, (_, n) => {
    const payload = n % 2 ? n : Buffer.from([n]);
    return room.send("said", payload).then(
      (receipt) => receipt.offset,
      (error) => error.code,
    );
  });
  // The burst of this turn is handed over in a microtask; what comes after that finds the outbox full.
  await null;
  await null;
  const late = Array.from({ length: 130 }, (_, n) =>
    room.send("said", n).then(
      (r) => r.offset,
      (error) => error.code,
    ),
  );
  assert.equal(client.getStats().queued, 130);
  const refused = await within(Promise.all(late), "the refusals");
  assert.deepEqual(new Set(refused), new Set(["queue_full"]));
  await client.connect();
  const offsets = await within(Promise.all(outcomes), "all receipts");
  assert.deepEqual(
    offsets,
    Array.from({ length: 130 }, (_, n) => n + 1),
  );
  assert.equal((await room.send("said", 1)).offset, 131);
});

test("what waits when the client is disconnected fails, all of it", async (t) => {
  const client = newClient(t, "ws://127.0.0.1:9", { queue: { messages: 10 } });
  void client.connect();
  const outcomes = Array.from({ length: 50 }, (_, n) =>
    client
      .channel("room")
      .send("said", n)
      .catch((e) => e.code),
  );
  await client.disconnect();
  assert.deepEqual(new Set(await within(Promise.all(outcomes), "the failures")), new Set(["closed"]));
});

test("a send before any connect waits; one after disconnect fails", async (t) => {
  const server = await startServer(t);
  const client = newClient(t, server.url);
  const early = client.channel("room").send("said", 1);
  await client.connect();
  assert.equal((await early).offset, 1);
  await client.disconnect();
  await assert.rejects(client.channel("room").send("said", 1), { code: "closed" });
  await assert.rejects(client.send("said", 1), { code: "closed" });
  await client.connect();
  assert.equal((await client.channel("room").send("said", 1)).offset, 2);
});

test("a send that gets no receipt in time", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server.url);
  const client = await connected(t, proxy.url, { sendTimeout: 100 });
  proxy.stall();
  await assert.rejects(within(client.channel("room").send("said", 1), "the timeout"), { code: "timeout" });
});

test("a rate limit delays and drops nothing", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url, { rateLimit: 50 });
  const room = client.channel("room");
  const begun = Date.now();
  const receipts = await Promise.all(Array.from({ length: 75 }, (_, n) => room.send("said", n)));
  assert.deepEqual(
    receipts.map((receipt) => receipt.offset),
    Array.from({ length: 75 }, (_, n) => n + 1),
  );
  assert.ok(Date.now() - begun >= 400, `${Date.now() - begun} ms`);
});

test("a burst crosses into the native side in few calls", async () => {
  const calls = [];
  const fake = {
    send(first, lines, binaries) {
      calls.push({ first, count: lines.split("\n").length >> 1, binaries: binaries.length });
      return null;
    },
  };
  const outbox = new Outbox(fake, {}, () => {});
  for (let n = 0; n < 100; n++) void outbox.send("room", 0, "said", n % 10 === 0 ? Buffer.of(n) : n);
  assert.equal(calls.length, 0);
  await null;
  assert.deepEqual(calls, [{ first: 1, count: 100, binaries: 10 }]);
  for (let n = 0; n < 5000; n++) void outbox.send("room", 0, "said", n);
  await null;
  assert.equal(calls.length, 1 + 5);
  assert.equal(
    calls.reduce((sum, call) => sum + call.count, 0),
    5100,
  );
  assert.equal(outbox.waiting, 0);
});

test("plain: no acknowledgements, and the receipt says so", async (t) => {
  const url = await backend(t, () => {});
  const client = await connected(t, url, { protocol: "plain" });
  const receipt = await client.channel("room").send("said", 1);
  assert.deepEqual(receipt, {
    channel: "room",
    epoch: undefined,
    offset: undefined,
    duplicate: false,
    acknowledged: false,
  });
});
