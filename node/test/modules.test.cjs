"use strict";
const assert = require("node:assert/strict");
const { test } = require("node:test");
const client = require("realtime-client");
const testing = require("realtime-client/testing");

const NAMES = [
  "RealtimeChannel",
  "RealtimeCollection",
  "RealtimeError",
  "RealtimeManager",
  "RealtimePresence",
  "WebSocketClient",
  "realtimeManager",
];

test("CommonJS and ESM give the same things", async () => {
  assert.deepEqual(Object.keys(client).sort(), NAMES);
  const esm = await import("realtime-client");
  assert.deepEqual(
    Object.keys(esm).filter((name) => NAMES.includes(name)),
    NAMES,
  );
  for (const name of NAMES) assert.equal(esm[name], client[name], name);
  assert.deepEqual(Object.keys(testing).sort(), ["FaultProxy", "RealtimeServer"]);
  const esmTesting = await import("realtime-client/testing");
  assert.equal(esmTesting.FaultProxy, testing.FaultProxy);
});

test("what is inside stays inside", () => {
  assert.throws(() => require("realtime-client/dist/outbox.js"), { code: "ERR_PACKAGE_PATH_NOT_EXPORTED" });
});

test("it works from CommonJS", async (t) => {
  const server = await new testing.RealtimeServer().start();
  t.after(() => server.stop());
  const own = new client.WebSocketClient({ url: server.url });
  await own.connect();
  const receipt = await own.channel("room").send("said", 1);
  assert.equal(receipt.offset, 1);
  await own.disconnect();
});
