import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { FaultProxy, RealtimeServer } from "realtime-client/testing";
import { collect, connected, next, startProxy, startServer } from "./support.mjs";

test("the server's own side: publish, sendToAll, disconnectAll, counts", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  assert.equal(server.connectionCount, 1);
  const room = client.channel("room").subscribe();
  const said = collect(room, "said");
  await room.ready();
  assert.equal(server.publish("room", "said", { from: "server" }), 1);
  assert.equal(server.publish("room", "said", new Uint8Array([9])), 2);
  await said.reach(2);
  assert.throws(() => server.publish("room", "said", NaN), { code: "invalid_payload" });
  assert.throws(() => server.publish("", "said", 1), { code: "invalid_name" });
  const opened = next(client, "open");
  server.disconnectAll();
  await opened;
  await server.stop();
  assert.throws(() => server.url, /not started/);
  assert.throws(() => server.publish("room", "said", 1), { code: "closed" });
  await server.stop();
});

test("a server and a proxy that are not started, or cannot be", async (t) => {
  const server = new RealtimeServer();
  assert.throws(() => server.url, /start/);
  assert.throws(() => server.disconnectAll(), { code: "closed" });
  await assert.rejects(new RealtimeServer({ historyMesages: 1 }).start(), { code: "invalid_option" });
  const running = await startServer(t);
  await assert.rejects(running.start(), { code: "unsupported" });
  const port = Number(new URL(running.url).port);
  await assert.rejects(new RealtimeServer({ port }).start(), (error) => /listen/.test(error.message));
  await assert.rejects(new FaultProxy("nonsense").start(), { code: "invalid_url" });
  assert.throws(() => new FaultProxy(running.url).cut(), { code: "closed" });
});

test("cut and restore, stall, delay, limit, dropAfter, and the counters", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server.url);
  const client = await connected(t, proxy.url);
  const room = client.channel("room").subscribe();
  await room.ready();
  assert.deepEqual([proxy.connections, proxy.cuts], [1, 0]);

  const refused = next(client, "error");
  proxy.cut();
  await refused;
  const back = next(client, "open");
  proxy.restore();
  await back;
  assert.deepEqual([proxy.connections, proxy.cuts], [2, 1]);

  proxy.delay(50);
  const begun = Date.now();
  await room.send("said", 1);
  assert.ok(Date.now() - begun >= 90, `${Date.now() - begun} ms`);
  proxy.restore();

  proxy.limit(20_000);
  const limited = Date.now();
  await room.send("said", "x".repeat(10_000));
  assert.ok(Date.now() - limited >= 300, `${Date.now() - limited} ms`);
  proxy.restore();

  const again = next(client, "open");
  proxy.dropAfter(10);
  const receipt = await room.send("said", 3);
  await again;
  assert.equal(receipt.offset, 3);
  assert.equal(proxy.cuts, 2);

  proxy.stall();
  let answered = false;
  const sending = room.send("said", 4).then(() => (answered = true));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(answered, false);
  proxy.restore();
  await sending;
});

test("a server with data comes back with its histories and receipts", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "realtime-"));
  t.after(() => rm(folder, { recursive: true }));
  const server = await startServer(t, { data: join(folder, "data") });
  const client = await connected(t, server.url);
  const room = client.channel("room");
  const [got, gaps] = [collect(room, "said"), collect(room, "gap")];
  await room.subscribe().ready();
  const before = await room.send("said", 1);
  await got.reach(1);
  const opened = next(client, "open");
  await server.stop();
  await server.start();
  // Published while the client may still be away: it is in the history that goes on.
  assert.equal(server.publish("room", "said", 2), 2);
  const after = await room.send("said", 3);
  await got.reach(3);
  assert.deepEqual(
    got.items.map((message) => message.data),
    [1, 2, 3],
  );
  assert.deepEqual([after.epoch, after.offset, after.duplicate], [before.epoch, 3, false]);
  assert.equal(gaps.items.length, 0);
  assert.equal((await opened)[0].resumed, true);
  assert.equal(client.getStats().reconnects, 1);
});
