import assert from "node:assert/strict";
import { test } from "node:test";
import { RealtimeError } from "realtime-client";
import { backend, collect, connected, newClient, next, run, startServer, v1Backend } from "./support.mjs";

const UNREACHABLE = "ws://127.0.0.1:9";

test("on, once, off and listenerCount", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room").subscribe();
  await room.ready();
  const log = [];
  const removed = () => log.push("removed");
  const remove = room.on("said", (n) => log.push(`on ${n}`));
  room.once("said", (n) => log.push(`once ${n}`));
  room.on("said", removed);
  room.on("said", removed);
  assert.equal(room.listenerCount("said"), 4);
  assert.equal(room.off("said", removed), room);
  assert.equal(room.listenerCount("said"), 2);
  await room.send("said", 1);
  await room.send("said", 2);
  remove();
  remove();
  const last = collect(room, "last");
  await room.send("said", 3);
  await room.send("last", 0);
  await last.reach(1);
  assert.deepEqual(log, ["on 1", "once 1", "on 2"]);
  room.off("last");
  assert.equal(room.listenerCount("last"), 0);
  assert.equal(room.listenerCount("constructor"), 0);
  assert.throws(() => room.on("said", "no function"), TypeError);
  assert.throws(() => room.on(5, () => {}), TypeError);
});

test("handlers that come and go during an emission", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room").subscribe();
  await room.ready();
  const log = [];
  room.on("said", () => {
    log.push("first");
    removeSecond();
    room.once("said", () => log.push("added"));
  });
  const removeSecond = room.on("said", () => log.push("second"));
  const last = collect(room, "last");
  await room.send("said", 1);
  await room.send("last", 1);
  await last.reach(1);
  assert.deepEqual(log, ["first"]);
});

test("a handler that throws or rejects is reported and stops nothing", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room").subscribe();
  await room.ready();
  const errors = collect(client, "error");
  const cause = new Error("mine");
  room.on("said", () => {
    throw cause;
  });
  room.on("said", () => Promise.reject(cause));
  const said = collect(room, "said");
  await room.send("said", 1);
  await room.send("said", 2);
  await said.reach(2);
  await errors.reach(4);
  for (const error of errors.items) {
    assert.ok(error instanceof RealtimeError);
    assert.equal(error.code, "handler_failed");
    assert.equal(error.cause, cause);
    assert.match(error.message, /"said" of channel "room"/);
  }
  assert.ok(client.isConnected);
});

test("throwing undefined, and throwing in the handler of a status", async (t) => {
  const server = await startServer(t);
  const client = newClient(t, server.url);
  const errors = collect(client, "error");
  client.on("status", () => {
    throw undefined;
  });
  await client.connect();
  await errors.reach(2);
  assert.equal(errors.items[0].code, "handler_failed");
});

test("where nobody listens to error it is a warning, once per code, never an exception", async () => {
  const { code, stdout, stderr } = await run(`
    import { WebSocketClient } from "realtime-client";
    const client = new WebSocketClient({ url: "${UNREACHABLE}", reconnect: { first: 1, base: 1, max: 2, maxAttempts: 3 } });
    client.on("error", () => { throw new Error("in the error handler"); });
    await client.connect().catch((error) => console.log(error.code));
    const other = new WebSocketClient({ url: "${UNREACHABLE}", reconnect: { first: 1, base: 1, max: 2, maxAttempts: 3 } });
    other.on("status", () => { throw new Error("in the status handler"); });
    void other.connect();
    other.on("status", (status, { retryIn }) => status === "error" && retryIn === undefined && console.log("ended"));
  `);
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "max_attempts\nended\n");
  assert.equal(stderr.match(/RealtimeWarning/g).length, 4, stderr);
  assert.equal(stderr.match(/\[handler_failed\]/g).length, 2, stderr);
  assert.equal(stderr.match(/\[connect_failed\]/g).length, 1, stderr);
  assert.match(stderr, /at .*\[stdin|at file|eval/);
});

test("closing inside a handler in the middle of a batch", async (t) => {
  const server = await v1Backend(t, (message, send) => {
    if (message.type !== "subscribe") return;
    send({ type: "subscribed", id: message.id, channel: "room", epoch: "e", offset: 0 });
    const line = (n) => `{"type":"message","channel":"room","event":"n","offset":${n},"timestamp":1,"payload":${n}}`;
    send([1, 2, 3, 4, 5].map(line).join("\n"));
  });
  const client = await connected(t, server);
  const room = client.channel("room").subscribe();
  const numbers = collect(room, "n");
  let closing;
  room.once("n", () => (closing = client.disconnect()));
  await numbers.reach(5);
  await closing;
  assert.equal(client.status, "disconnected");
  assert.deepEqual(
    numbers.items.map((message) => message.data),
    [1, 2, 3, 4, 5],
    "what was received is handed out",
  );
});

test("unsubscribing inside a handler in the middle of a batch", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room").subscribe();
  await room.ready();
  const seen = [];
  room.on("n", (n) => {
    seen.push(n);
    if (n === 2) room.unsubscribe();
  });
  const idle = next(room, "state", (state) => state === "idle");
  for (let n = 1; n <= 5; n++) server.publish("room", "n", n);
  await idle;
  assert.deepEqual(seen, [1, 2]);
});

test("a backend's type with the name of an event of ours arrives under message only", async (t) => {
  const names = ["open", "close", "status", "error", "binary", "stalled", "message", "__proto__", "free"];
  const url = await backend(t, (socket) => {
    for (const type of names) socket.send(JSON.stringify({ type, payload: type }));
  });
  const client = newClient(t, url, { protocol: "plain" });
  const every = collect(client, "message");
  const own = Object.fromEntries(names.map((name) => [`on ${name}`, collect(client, name)]));
  await client.connect();
  await every.reach(names.length);
  assert.deepEqual(
    every.items.map((message) => [message.event, message.data]),
    names.map((name) => [name, name]),
  );
  for (const name of ["error", "binary", "stalled", "close"]) assert.equal(own[`on ${name}`].items.length, 0, name);
  assert.equal(own["on open"].items.length, 1);
  assert.equal(own["on open"].items[0].dialect, "plain");
  for (const name of ["__proto__", "free"]) assert.equal(own[`on ${name}`].items.length, 1, name);
});

test("a blocked event loop is reported, and the connection survives it", async (t) => {
  const server = await startServer(t, { heartbeat: 100, timeout: 1200 });
  const client = await connected(t, server.url, { heartbeat: { interval: 100, timeout: 1000 } });
  const room = client.channel("room").subscribe();
  await room.ready();
  const stalled = next(client, "stalled");
  server.publish("room", "said", 1);
  const until = Date.now() + 1800;
  while (Date.now() < until);
  const [duration] = await stalled;
  assert.ok(duration >= 1000, `${duration} ms`);
  assert.equal(client.getStats().reconnects, 0);
  assert.ok(client.isConnected);
});
