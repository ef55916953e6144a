// The relay of the examples as a backend that knows nothing of this package.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { backend, collect, connected, newClient, next, startProxy, within } from "./support.mjs";

async function startRelay(t) {
  const relay = spawn(process.execPath, [fileURLToPath(new URL("../../examples/relay.mjs", import.meta.url))], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => relay.kill());
  const [line] = await within(once(relay.stdout.setEncoding("utf8"), "data"), "the relay's URL");
  return line.trim();
}

test("auto falls back to plain, and channels work", async (t) => {
  const url = await startRelay(t);
  const [alice, bob] = [await connected(t, url), await connected(t, url)];
  const room = bob.channel("room").subscribe();
  bob.channel("another").subscribe();
  const said = collect(room, "said");
  await room.ready();
  // What this relay answers to comes behind what it was told before.
  const echoed = next(bob, "echo");
  await bob.send("echo", 0);
  await echoed;
  const receipt = await alice.channel("room").send("said", { n: 1, text: "hällo" });
  assert.equal(receipt.acknowledged, false);
  await said.reach(1);
  const [message] = said.items;
  assert.deepEqual(message.data, { n: 1, text: "hällo" });
  assert.equal(message.offset, undefined);
  assert.equal(typeof message.timestamp, "number");
});

test("other types and bytes come back from this relay", async (t) => {
  const client = await connected(t, await startRelay(t));
  const [hellos, bytes] = [collect(client, "hello"), collect(client, "binary")];
  await client.send("hello", [1, 2]);
  await client.sendBinary(Buffer.from("raw"));
  await Promise.all([hellos.reach(1), bytes.reach(1)]);
  assert.deepEqual(hellos.items[0].data, [1, 2]);
  assert.equal(bytes.items[0].data.toString(), "raw");
  assert.equal(bytes.items[0].binary, true);
  await assert.rejects(client.channel("room").send("said", Buffer.from("raw")), { code: "unsupported" });
});

test("what names no channel goes to the client, and to the only channel, but is one message", async (t) => {
  const client = await connected(t, await startRelay(t));
  const room = client.channel("room").subscribe();
  await room.ready();
  const [direct, said, all] = [collect(client, "hello"), collect(room, "hello"), collect(client, "message")];
  await client.send("hello", 1);
  await said.reach(1);
  await client.send("hello", 2);
  await said.reach(2);
  assert.deepEqual(
    [direct, said].map(({ items }) => items.map(({ data }) => data)),
    [
      [1, 2],
      [1, 2],
    ],
  );
  assert.equal(all.items.length, 2);
});

test("it subscribes again after a cut", async (t) => {
  const url = await startRelay(t);
  const proxy = await startProxy(t, url);
  const client = await connected(t, proxy.url, { protocol: "plain" });
  const room = client.channel("room").subscribe();
  const said = collect(room, "said");
  await room.send("said", 1);
  await said.reach(1);
  const opened = next(client, "open");
  proxy.cutConnections();
  await opened;
  await room.ready();
  await room.send("said", 2);
  await said.reach(2);
  assert.deepEqual(
    said.items.map((message) => message.data),
    [1, 2],
  );
});

test("a message without a channel goes to the client, and to the channel where there is exactly one", async (t) => {
  let socket;
  const url = await backend(t, (opened) => (socket = opened));
  const client = await connected(t, url, { protocol: "plain" });
  const one = client.channel("one").subscribe();
  await one.ready();
  const [own, inChannel] = [collect(client, "news"), collect(one, "news")];
  socket.send(JSON.stringify({ type: "news", payload: 1, timestamp: 5 }));
  await Promise.all([own.reach(1), inChannel.reach(1)]);
  const two = client.channel("two").subscribe();
  await two.ready();
  socket.send(JSON.stringify({ type: "news", payload: 2 }));
  socket.send(JSON.stringify({ type: "news", payload: 3, channel: "two" }));
  const inTwo = collect(two, "news");
  await Promise.all([own.reach(2), inTwo.reach(1)]);
  assert.deepEqual(
    own.items.map((message) => message.data),
    [1, 2],
  );
  assert.deepEqual(
    inChannel.items.map((message) => message.data),
    [1],
  );
  assert.equal(inTwo.items[0].data, 3);
});

test("what a backend should not send is an error event, and the client goes on", async (t) => {
  const url = await backend(t, (socket) => {
    socket.send("{not json");
    socket.send('{"type":5,"payload":1}');
    socket.send("[1,2]");
    socket.send('{"type":"fine","payload":1,"timestamp":"yesterday"}');
    socket.send('{"type":"late","payload":{"deep":true}}');
  });
  const client = newClient(t, url, { protocol: "plain" });
  const [every, errors, late] = [collect(client, "message"), collect(client, "error"), next(client, "late")];
  await client.connect();
  await late;
  assert.deepEqual(
    every.items.map(({ event, data, timestamp }) => [event, data, timestamp]),
    [
      ["", { type: 5, payload: 1 }, undefined],
      ["", [1, 2], undefined],
      ["fine", 1, undefined],
      ["late", { deep: true }, undefined],
    ],
  );
  assert.deepEqual(
    errors.items.map((error) => error.code),
    ["malformed"],
  );
  assert.equal(client.getStats().malformed, 1);
  assert.ok(client.isConnected);
});

test("presence and collections work among the clients of a relay, without one message to the application", async (t) => {
  const url = await startRelay(t);
  const proxy = await startProxy(t, url);
  const [ann, ben] = [await connected(t, proxy.url), await connected(t, url)];
  const told = collect(ben.channel("room"), "message");
  const direct = [collect(ann, "message"), collect(ben, "message")];
  const seen = async (client, ids) => {
    const { presence } = client.channel("room");
    const holds = () => JSON.stringify(presence.users.map(({ id }) => id).sort()) === JSON.stringify(ids);
    if (!holds()) await next(presence, "sync", holds);
  };
  await ann.channel("room").presence.track({ id: "ann", name: "Ann" });
  await ben.channel("room").presence.track({ id: "ben" });
  await Promise.all([seen(ann, ["ann", "ben"]), seen(ben, ["ann", "ben"])]);
  const { name, verified, isSelf } = ben.channel("room").presence.get("ann");
  assert.deepEqual([name, verified, isSelf], ["Ann", false, false]);

  const [a, b] = [ann, ben].map((client) => client.channel("room").collection("tasks"));
  const has = async (tasks, id, n) => {
    const holds = () => tasks.get(id)?.n === n;
    if (!holds()) await next(tasks, "change", holds);
  };
  await Promise.all([a.ready(), b.ready()]);
  const task = await a.insert({ id: "t1", n: 1 });
  assert.deepEqual([task, a.isPending("t1"), a.revision("t1")], [{ id: "t1", n: 1 }, false, undefined]);
  await has(b, "t1", 1);
  await assert.rejects(b.update("t1", { n: 9 }, { ifRevision: 1 }), { code: "unsupported" });
  assert.equal(b.get("t1").n, 1);

  // What was changed while the line was cut meets afterwards.
  const lost = next(ann, "status", (status) => status === "reconnecting");
  proxy.cut();
  await lost;
  const late = a.insert({ id: "t2", n: 2 });
  await b.update("t1", { n: 3 });
  const resynced = next(a, "sync");
  proxy.restore();
  await Promise.all([late, resynced, has(a, "t1", 3), has(b, "t2", 2)]);
  await ann.disconnect();
  await seen(ben, ["ben"]);
  assert.deepEqual(
    [told, ...direct].map(({ items }) => items.length),
    [0, 0, 0],
  );
});
