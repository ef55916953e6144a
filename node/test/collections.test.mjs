// Collections, where they are more than what tests/scenarios has.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RealtimeCollection } from "realtime-client";
import { collect, connected, newClient, next, startProxy, startServer, within } from "./support.mjs";

/** The same collection at Ann, through a proxy, and at Ben. */
async function pair(t, options) {
  const server = await startServer(t);
  const proxy = await startProxy(t, server.url);
  const [ann, ben] = [await connected(t, proxy.url, options), await connected(t, server.url)];
  const [a, b] = [ann.channel("team").collection("tasks"), ben.channel("team").collection("tasks")];
  await within(Promise.all([a.ready(), b.ready()]), "both in sync");
  const cut = async () => {
    const lost = next(ann, "status", (status) => status === "reconnecting");
    proxy.cut();
    await lost;
  };
  return { server, proxy, client: ann, other: ben, ann: a, ben: b, cut };
}

async function until(collection, data) {
  const holds = () => JSON.stringify(collection.data) === JSON.stringify(data);
  if (!holds()) await next(collection, "change", holds);
}

const fail = () => {
  throw new Error("no");
};

test("a record shows at once and gets an id and a revision", async (t) => {
  const { ann } = await pair(t);
  assert.ok(ann instanceof RealtimeCollection);
  const saving = ann.insert({ title: "a" });
  const [shown] = ann.data;
  assert.deepEqual(Object.keys(shown), ["id", "title"]);
  assert.equal(shown.id.length, 36);
  assert.deepEqual([ann.isPending(shown.id), ann.revision(shown.id)], [true, undefined]);
  assert.equal(await saving, shown);
  assert.deepEqual([ann.isPending(shown.id), ann.revision(shown.id)], [false, 1]);
  const second = await ann.insert({ title: "b" });
  assert.ok(shown.id < second.id);
  assert.deepEqual([ann.size, ann.has(second.id), ann.get(second.id)], [2, true, second]);
});

test("it is told when nothing of a record is on its way any more", async (t) => {
  const { ann } = await pair(t);
  const settled = collect(ann, "settled");
  await Promise.all([ann.insert({ id: "a" }), ann.update("a", { n: 1 }), ann.insert({ id: "b" })]);
  assert.deepEqual(settled.items, ["a", "b"]);
  await assert.rejects(ann.update("b", { n: 1 }, { ifRevision: 99 }), { code: "conflict" });
  assert.deepEqual(settled.items, ["a", "b", "b"]);
  assert.equal(ann.isPending("b"), false);
});

test("data is the same frozen array until something changes", async (t) => {
  const { ann } = await pair(t);
  const record = await ann.insert({ id: "a", n: 1, list: [{ deep: 1 }] });
  const before = ann.data;
  assert.equal(ann.data, before);
  assert.equal(before[0], record);
  await ann.insert({ id: "a", n: 1, list: [{ deep: 1 }] });
  assert.equal(ann.data, before);
  assert.throws(() => before.push(1), TypeError);
  assert.throws(() => record.n++, TypeError);
  assert.throws(() => record.list[0].deep++, TypeError);
  await ann.update("a", { n: 2 });
  assert.equal(before[0].n, 1);
  assert.equal(ann.data[0].n, 2);
});

test("what the caller changes later is not sent", async (t) => {
  const { ann, ben, proxy, cut } = await pair(t);
  await cut();
  const mine = { id: "a", tags: ["x"] };
  const saving = ann.insert(mine);
  mine.tags = [];
  proxy.restore();
  assert.deepEqual(await saving, { id: "a", tags: ["x"] });
  await until(ben, [{ id: "a", tags: ["x"] }]);
});

test("handlers get the record and how it changed", async (t) => {
  const { ann, ben } = await pair(t);
  const heard = [];
  for (const event of ["insert", "update", "delete"]) {
    ben.on(event, (record, change) => heard.push([event, record, change.kind]));
  }
  const changes = collect(ben, "change");
  await ann.insert({ id: "a", n: 1 });
  await until(ben, [{ id: "a", n: 1 }]);
  await ben.update("a", { n: 2 });
  await ann.remove("a");
  await changes.reach(3);
  assert.deepEqual(changes.items, [
    { kind: "insert", id: "a", record: { id: "a", n: 1 }, old: undefined, local: false, rollback: false, revision: 1 },
    {
      kind: "update",
      id: "a",
      record: { id: "a", n: 2 },
      old: { id: "a", n: 1 },
      local: true,
      rollback: false,
      revision: 1,
    },
    {
      kind: "delete",
      id: "a",
      record: undefined,
      old: { id: "a", n: 2 },
      local: false,
      rollback: false,
      revision: undefined,
    },
  ]);
  assert.deepEqual(heard, [
    ["insert", { id: "a", n: 1 }, "insert"],
    ["update", { id: "a", n: 2 }, "update"],
    ["delete", { id: "a", n: 2 }, "delete"],
  ]);
});

test("a refused change is taken back and told", async (t) => {
  const { ann } = await pair(t);
  await ann.insert({ id: "a", n: 1 });
  const changes = collect(ann, "change");
  const refused = await ann.update("a", { n: 2 }, { ifRevision: 9 }).catch((error) => error);
  assert.deepEqual([refused.code, refused.current, refused.revision], ["conflict", { id: "a", n: 1 }, 1]);
  assert.ok(Object.isFrozen(refused.current));
  assert.deepEqual(
    changes.items.map(({ record, rollback }) => [record.n, rollback]),
    [
      [2, false],
      [1, true],
    ],
  );
  assert.deepEqual(ann.data, [{ id: "a", n: 1 }]);
  assert.equal(ann.isPending("a"), false);
  assert.equal((await ann.update("a", { n: 3 }, { ifRevision: refused.revision })).n, 3);
  const gone = await ann.remove("nobody", { ifRevision: 1 }).catch((error) => error);
  assert.deepEqual([gone.code, gone.current, gone.revision], ["conflict", undefined, undefined]);
});

test("a failure that nobody awaits is an error event", async (t) => {
  const { client, ann } = await pair(t);
  await ann.insert({ id: "a" });
  const own = next(ann, "error");
  void ann.update("a", { n: 2 }, { ifRevision: 9 });
  assert.equal((await own)[0].code, "conflict");
  const reported = next(client, "error");
  void ann.update("a", { n: 2 }, { ifRevision: 9 });
  assert.equal((await reported)[0].code, "conflict");
});

test("a handler may change, and is not told in between", async (t) => {
  const { ann } = await pair(t);
  const log = [];
  ann.on("insert", ({ id }) => {
    log.push(`first ${id}`);
    if (id === "a") void ann.insert({ id: "b" });
  });
  ann.on("insert", ({ id }) => void log.push(`second ${id}`));
  await ann.insert({ id: "a" });
  assert.deepEqual(log, ["first a", "second a", "first b", "second b"]);
});

test("handlers that throw or reject are reported and stop nothing", async (t) => {
  const { client, ann } = await pair(t);
  const errors = collect(client, "error");
  const heard = [];
  ann.on("insert", fail);
  ann.on("change", async () => fail());
  ann.on("change", ({ id }) => void heard.push(id));
  await ann.insert({ id: "a" });
  assert.deepEqual(heard, ["a"]);
  await errors.reach(2);
  assert.deepEqual(
    errors.items.map(({ code }) => code),
    ["handler_failed", "handler_failed"],
  );
  assert.match(errors.items[0].message, /"insert" of the collection "tasks" of channel "team" threw: no/);
});

test("promises of handlers hold the server back, and nothing is lost", async (t) => {
  const server = await startServer(t);
  const slow = await connected(t, server.url, { inbox: { channelBytes: 4000 } });
  const fast = await connected(t, server.url);
  const [count, seen] = [400, []];
  const collection = slow.channel("team").collection("tasks");
  const done = new Promise((resolve) => {
    collection.on("change", async ({ record }) => {
      await new Promise(setImmediate);
      seen.push(record.n);
      if (seen.length === count) resolve();
    });
  });
  await collection.ready();
  const writer = fast.channel("team").collection("tasks");
  await writer.insert({ id: "a", n: 0 });
  await Promise.all(Array.from({ length: count - 1 }, (_, n) => writer.update("a", { n: n + 1 })));
  await within(done, "all changes");
  assert.deepEqual(
    seen,
    Array.from({ length: count }, (_, n) => n),
  );
  assert.equal(slow.getStats().diverged, 0);
});

test("closing stops, and asking again goes on", async (t) => {
  const { other, ann, ben } = await pair(t);
  await ann.insert({ id: "a" });
  await until(ben, [{ id: "a" }]);
  ben.close();
  await ann.insert({ id: "b" });
  await ann.remove("a");
  assert.deepEqual(ben.data, [{ id: "a" }]);
  const changes = collect(ben, "change");
  assert.equal(other.channel("team").collection("tasks"), ben);
  await ben.ready();
  assert.deepEqual(ben.data, [{ id: "b" }]);
  assert.deepEqual(changes.items.map(({ kind, id }) => `${kind} ${id}`).sort(), ["delete a", "insert b"]);
});

test("initial data shows until the server's is here", async (t) => {
  const { server } = await pair(t);
  const client = newClient(t, server.url);
  const tasks = client.channel("team").collection("tasks", { initialData: [{ id: "x", n: 1 }] });
  assert.deepEqual(tasks.data, [{ id: "x", n: 1 }]);
  assert.throws(() => client.channel("team").collection("others", { initialData: [{ id: 1 }] }), {
    code: "invalid_record",
  });
  await client.connect();
  await tasks.ready();
  assert.deepEqual(tasks.data, []);
});

test("disconnecting takes back what did not go", async (t) => {
  const { client, proxy, ann, ben, cut } = await pair(t);
  await ann.insert({ id: "a" });
  await cut();
  const pending = [ann.insert({ id: "b" }), ann.remove("a")];
  assert.deepEqual(ann.data, [{ id: "b" }]);
  await client.disconnect();
  for (const { reason } of await Promise.allSettled(pending)) assert.equal(reason.code, "closed");
  assert.deepEqual(ann.data, [{ id: "a" }]);
  await assert.rejects(ann.insert({ id: "c" }), { code: "closed" });
  proxy.restore();
  await client.connect();
  await ann.insert({ id: "d" });
  await until(ben, [{ id: "a" }, { id: "d" }]);
});

test("changes that find the outbox full wait in turn with messages", async (t) => {
  const { client, proxy, ann, cut } = await pair(t, { queue: { messages: 4 } });
  await cut();
  const pending = [];
  for (let n = 0; n < 4; n++) {
    pending.push(ann.insert({ id: `${n}` }), client.channel("team").send("n", n));
  }
  assert.deepEqual(
    ann.data.map(({ id }) => id),
    ["0", "1"],
  );
  proxy.restore();
  const results = await within(Promise.all(pending), "everything");
  assert.deepEqual(
    results.map(({ id, offset }) => id ?? offset),
    ["0", 1, "1", 2, "2", 3, "3", 4],
  );
  assert.equal(ann.size, 4);
});

test("what cannot be a record is refused, and shows nowhere", async (t) => {
  const { client, ann } = await pair(t);
  for (const record of [[1], "text", 7, null, Buffer.from("{}"), { id: 7 }, { id: null }]) {
    await assert.rejects(ann.insert(record), { code: "invalid_record" }, String(record));
  }
  for (const record of [undefined, () => {}, { x: NaN }, { x: 1n }]) {
    await assert.rejects(ann.insert(record), { code: "invalid_payload" }, String(record));
  }
  for (const id of [7, undefined, "", "x".repeat(256), "\ud800"]) {
    await assert.rejects(ann.update(id, {}), { code: "invalid_name" }, String(id));
    await assert.rejects(ann.remove(id), { code: "invalid_name" }, String(id));
  }
  assert.throws(() => client.channel("team").collection(""), { code: "invalid_name" });
  assert.throws(() => client.channel("team").collection(7), { code: "invalid_name" });
  assert.deepEqual(ann.data, []);
});

test("a refused collection fails, and can be asked for again", async (t) => {
  const server = await startServer(t, { maxChannels: 1 });
  const client = await connected(t, server.url);
  const one = await client.channel("one").subscribe().ready();
  const tasks = client.channel("team").collection("tasks");
  await assert.rejects(tasks.ready(), { code: "too_many_channels" });
  const idle = next(one, "state", (state) => state === "idle");
  one.unsubscribe();
  await idle;
  assert.equal(await client.channel("team").collection("tasks").ready(), tasks);
});

test("a snapshot of many pages is one", async (t) => {
  const { server, ann } = await pair(t);
  const ids = Array.from({ length: 3000 }, (_, n) => String(n).padStart(5, "0"));
  await Promise.all(ids.map((id) => ann.insert({ id, text: "x".repeat(300) })));
  const tasks = (await connected(t, server.url)).channel("team").collection("tasks");
  const changes = collect(tasks, "change");
  await tasks.ready();
  assert.deepEqual(
    tasks.data.map(({ id }) => id),
    ids,
  );
  assert.equal(changes.items.length, 0);
});
