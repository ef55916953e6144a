import assert from "node:assert/strict";
import { test } from "node:test";
import { RealtimeManager, realtimeManager } from "realtime-client";
import { EAGER, collect, next, startServer } from "./support.mjs";

test("one manager, used from everywhere", async (t) => {
  const server = await startServer(t);
  t.after(() => realtimeManager.disconnect());
  assert.ok(realtimeManager instanceof RealtimeManager);
  assert.equal(realtimeManager.status, "disconnected");
  assert.throws(() => realtimeManager.channel("room"), { code: "closed" });
  const opened = next(realtimeManager, "open");
  const client = realtimeManager.initialize(server.url, { reconnect: EAGER });
  assert.equal(realtimeManager.initialize(server.url), client, "again is no new connection");
  await opened;
  assert.equal(realtimeManager.status, "connected");
  assert.ok(realtimeManager.isConnected);
  const room = realtimeManager.channel("room").subscribe();
  const said = collect(room, "said");
  await room.send("said", 1);
  await room.ready();
  await room.send("said", 2);
  await said.reach(1);
  await realtimeManager.disconnect();
  assert.equal(realtimeManager.status, "disconnected");
  assert.equal(client.status, "disconnected");
});

test("handlers stay when it moves to another server", async (t) => {
  const [first, second] = [await startServer(t), await startServer(t)];
  const manager = new RealtimeManager();
  t.after(() => manager.disconnect());
  const opens = [];
  const remove = manager.on("open", () => opens.push(manager.client.url));
  manager.initialize(first.url);
  await next(manager, "open");
  manager.initialize(second.url);
  await next(manager, "open");
  assert.deepEqual(opens, [first.url, second.url]);
  remove();
  await manager.disconnect();
  manager.initialize(first.url);
  await next(manager, "open");
  assert.equal(opens.length, 2);
});
