import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { backend, collect, connected, newClient, next, startServer } from "./support.mjs";

test("a dump tells what happened, and nothing secret", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url, { token: "secret-token", headers: { "x-key": "secret-header" } });
  const channel = client.channel("room").subscribe();
  const said = collect(channel, "said");
  await channel.ready();
  await channel.send("said", "secret-payload");
  await said.reach(1);
  const dump = client.dump();
  assert.deepEqual([dump.status, dump.phase], ["connected", "connected"]);
  assert.deepEqual([dump.channels[0].name, dump.channels[0].offset], ["room", 1]);
  assert.equal(dump.recorded, dump.entries.length);
  const types = dump.entries.map(({ what, type }) => `${what} ${type}`);
  for (const type of ["sent hello", "received welcome", "sent publish", "received message"])
    assert.ok(types.includes(type), `no ${type} in ${types}`);
  assert.ok(!JSON.stringify(dump).includes("secret"));
  assert.ok(!JSON.stringify(dump).includes(server.url));
});

test("an error that ends the client is reported in a file", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "realtime-report-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const url = await backend(t, () => {});
  const errorReport = join(directory, "report.json");
  const client = newClient(t, url, { protocol: "realtime.v1", errorReport });
  await assert.rejects(client.connect(), /acknowledged none of the subprotocols/);
  const dump = JSON.parse(readFileSync(errorReport, "utf8"));
  assert.deepEqual([dump.status, dump.phase], ["error", "stopped"]);
  assert.ok(dump.entries.some(({ what, code }) => what === "error" && code === "protocol_error"));
  const other = newClient(t, url, { protocol: "realtime.v1", errorReport: join(directory, "no", "report.json") });
  const failed = next(other, "error", (error) => error.code === "invalid_option");
  await assert.rejects(other.connect());
  await failed;
});
