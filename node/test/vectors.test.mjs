// The shared vectors (`tests/vectors`) as far as a user of this package can see them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { collect, connected, newClient, next, startServer } from "./support.mjs";

const load = (name) => JSON.parse(readFileSync(new URL(`../../tests/vectors/${name}`, import.meta.url)));

test("payloads arrive as they were sent", async (t) => {
  const client = await connected(t, (await startServer(t)).url);
  const room = client.channel("room").subscribe();
  const heard = collect(room, "value");
  await room.ready();
  // What JavaScript has no number for is rounded by JSON.parse, and documented.
  const values = load("payloads.json").values.filter(({ exact }) => exact !== false);
  for (const { json } of values) await room.send("value", JSON.parse(json));
  await heard.reach(values.length);
  assert.deepEqual(
    heard.items.map(({ data }) => JSON.stringify(data)),
    values.map(({ json }) => JSON.stringify(JSON.parse(json))),
  );
});

test("names", async (t) => {
  const client = await connected(t, (await startServer(t)).url);
  const { valid, invalid_bytes, longest_bytes } = load("payloads.json").names;
  for (const name of [...valid, "x".repeat(longest_bytes)]) {
    const channel = client.channel(name).subscribe();
    const heard = collect(channel, name);
    await channel.ready();
    await channel.send(name, 1);
    await heard.reach(1);
  }
  for (const length of invalid_bytes) {
    const name = "x".repeat(length);
    assert.throws(() => client.channel(name), { code: "invalid_name" });
    await assert.rejects(client.channel("room").send(name, 1), { code: "invalid_name" });
  }
});

test("the error codes of the types are those of all languages", () => {
  const source = readFileSync(new URL("../src/errors.ts", import.meta.url), "utf8");
  const union = source.slice(source.indexOf("type ErrorCode"), source.indexOf("(string & {})"));
  const typed = [...union.matchAll(/"(\w+)"/g)].map(([, code]) => code);
  const { errors, local_errors } = load("codes.json");
  assert.deepEqual(typed.sort(), [...errors.map(({ code }) => code), ...local_errors].sort());
});

for (const { code, name, policy } of load("codes.json").closes.filter(({ code }) => code >= 4000)) {
  test(`close code ${code} ${name}: ${policy}`, async (t) => {
    const server = await startServer(t);
    const client = newClient(t, server.url, { reconnect: { first: 20, base: 50, max: 100 } });
    const closed = next(client, "close");
    await client.connect();
    // A fixed token, or none, cannot be refreshed.
    const ends = policy !== "reconnect";
    const status = next(client, "status", (status) => status === (ends ? "error" : "reconnecting"));
    server.disconnectAll(code);
    const [info] = await closed;
    assert.equal(info.code, code);
    assert.equal(info.reconnecting, !ends);
    await status;
    if (!ends) return client.connect();
    await assert.rejects(client.channel("room").send("e", 1), {
      code: policy === "terminal" ? "rejected" : "unauthenticated",
      closeCode: code,
    });
  });
}
