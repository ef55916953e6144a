// Presence, where it is more than what tests/scenarios has.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { RealtimeChannel, RealtimePresence } from "realtime-client";
import { collect, connected, newClient, next, startProxy, startServer, within } from "./support.mjs";

/** Ann, through a proxy, and Ben, who watches. */
async function pair(t, options) {
  const server = await startServer(t, { presenceGrace: 5000, ...options });
  const proxy = await startProxy(t, server.url);
  const [ann, ben] = [await connected(t, proxy.url), await connected(t, server.url)];
  return { server, proxy, client: ann, ann: ann.channel("room").presence, ben: ben.channel("room").presence };
}

async function until(presence, holds) {
  if (!holds(presence.users)) await next(presence, "sync", holds);
  return presence.users;
}

test("a user is a frozen snapshot with everything that is known", async (t) => {
  const { ann, ben } = await pair(t);
  assert.ok(ann instanceof RealtimePresence);
  await ann.track({ id: 7, name: "Ann", tags: ["a", { b: 1 }], status: "mine", ["__proto__"]: { x: 1 } });
  const [user] = await until(ben, (users) => users.length === 1);
  const { joinedAt, lastSeen, ...rest } = user;
  assert.ok(joinedAt === lastSeen && joinedAt > 1.5e12);
  assert.deepEqual(rest, {
    name: "Ann",
    tags: ["a", { b: 1 }],
    ["__proto__"]: { x: 1 },
    id: "7",
    status: "online",
    connections: 1,
    verified: false,
    isSelf: false,
  });
  assert.equal(user.x, undefined);
  assert.throws(() => (user.name = "Ben"), TypeError);
  assert.throws(() => user.tags[1].b++, TypeError);
  assert.throws(() => ben.users.pop(), TypeError);
  assert.equal(ben.get("7"), user);
  assert.equal(ben.get("8"), undefined);
  assert.equal(ben.users, ben.users);
  assert.equal(ben.onlineCount, 1);
});

test("who is away is present and not online", async (t) => {
  const { ann, ben } = await pair(t);
  await ann.track(undefined, { status: "away" });
  const [user] = await until(ben, (users) => users.length === 1);
  assert.ok(user.id.length > 10); // made by the server
  assert.equal(ben.onlineCount, 0);
  await ann.updateStatus("online");
  await until(ben, ([{ status }]) => status === "online");
  assert.equal(ben.onlineCount, 1);
});

test("watching ends with close, and begins again", async (t) => {
  const { ann, ben } = await pair(t);
  await ben.ready();
  const waiting = assert.rejects(ann.ready(), { code: "closed" });
  ann.close();
  await waiting;
  ben.close();
  await ann.track({ id: "ann" });
  assert.deepEqual(ben.users, []);
  await ben.ready();
  assert.deepEqual(
    ben.users.map(({ id }) => id),
    ["ann"],
  );
});

test("closing and disconnecting say goodbye", async (t) => {
  const { client, ann, ben } = await pair(t);
  for (const leave of [() => ann.close(), () => client.disconnect()]) {
    await ann.track({ id: "ann" });
    await until(ben, (users) => users.length === 1);
    assert.equal(ann.isTracked, true);
    await leave();
    await until(ben, (users) => users.length === 0);
  }
});

test("what was tracked offline is there once connected", async (t) => {
  const { server, ben } = await pair(t);
  const client = newClient(t, server.url);
  const tracking = client.channel("room").presence.track({ id: "cat" });
  assert.equal(client.channel("room").presence.isTracked, true);
  await client.connect();
  await within(tracking, "tracking");
  await until(ben, ([user]) => user?.id === "cat");
});

test("a verified user is who the server says", async (t) => {
  const server = await startServer(t, { jwtSecret: "secret" });
  const client = await connected(t, server.url, { token: token("ann") });
  const { presence } = client.channel("room");
  await presence.track({ id: "somebody else", name: "Ann" });
  const [user] = await until(presence, (users) => users.length === 1);
  assert.deepEqual([user.id, user.verified, user.isSelf, user.name], ["ann", true, true, "Ann"]);
});

test("a handler that throws is reported and stops nothing; promises are awaited in turn", async (t) => {
  const { client, ann, ben } = await pair(t);
  const errors = collect(client, "error");
  const log = [];
  let finish;
  const finished = new Promise((resolve) => (finish = resolve));
  ann.on("sync", () => {
    throw new Error("no");
  });
  ben.on("update", async ({ n }) => {
    log.push(`begin ${n}`);
    await new Promise(setImmediate);
    log.push(`end ${n}`);
    if (n === 3) finish();
  });
  const joined = next(ann, "join");
  await Promise.all([ann.ready(), ben.ready()]);
  await ann.track({ n: 0 });
  await joined;
  await until(ben, (users) => users.length === 1);
  for (const n of [1, 2, 3]) await ann.update({ n });
  await within(
    until(ben, ([user]) => user.n === 3),
    "3",
  );
  await within(finished, "the last update");
  await errors.reach(2);
  assert.equal(errors.items[0].code, "handler_failed");
  assert.match(errors.items[0].message, /"sync" of the presence of channel "room" threw: no/);
  for (let at = 0; at < log.length; at += 2) {
    assert.equal(log[at].replace("begin", "end"), log[at + 1]);
  }
});

test("what cannot be tracked is refused with its code", async (t) => {
  const { ann } = await pair(t);
  for (const [user, code] of [
    [{ id: "" }, "invalid_name"],
    [{ id: "x".repeat(256) }, "invalid_name"],
    [{ text: "x".repeat(17_000) }, "payload_too_large"],
    [{ x: NaN }, "invalid_payload"],
  ]) {
    await assert.rejects(ann.track(user), { code }, JSON.stringify(user));
  }
  await assert.rejects(ann.track({ id: ["x"] }));
  await assert.rejects(ann.track({}, { status: "asleep" }), { code: "invalid_option" });
  await assert.rejects(ann.update({ x: 1 }), { code: "not_tracked" });
  await assert.rejects(ann.updateStatus("away"), { code: "not_tracked" });
  assert.equal(ann.isTracked, false);
});

test("a failure that nobody awaits is an error event", async (t) => {
  const { client, ann } = await pair(t);
  const reported = next(client, "error");
  void ann.update({});
  assert.equal((await reported)[0].code, "not_tracked");
  const own = next(ann, "error");
  void ann.update({});
  assert.equal((await own)[0].code, "not_tracked");
});

test("a killed client is gone after the grace period", async (t) => {
  const { proxy, ann, ben } = await pair(t, { presenceGrace: 100 });
  await ann.track({ id: "ann" });
  await until(ben, (users) => users.length === 1);
  const left = next(ben, "leave");
  proxy.cut();
  assert.equal((await left)[0].id, "ann");
  assert.deepEqual(ben.users, []);
});

test("it is the channel's, always the same", async (t) => {
  const client = newClient(t, "ws://127.0.0.1:1");
  const channel = client.channel("room");
  assert.ok(channel instanceof RealtimeChannel);
  assert.equal(channel.presence, client.channel("room").presence);
  assert.notEqual(channel.presence, client.channel("other").presence);
});

function token(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 60 })}`;
  return `${text}.${createHmac("sha256", "secret").update(text).digest("base64url")}`;
}
