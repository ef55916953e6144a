import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connected, finish, newClient, packageDirectory, startServer, within } from "./support.mjs";

function file(t) {
  const directory = mkdtempSync(join(tmpdir(), "realtime-outbox-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return join(directory, "outbox");
}

const PROGRAM = `
  import { writeSync } from "node:fs";
  import { WebSocketClient } from "realtime-client";
  const [url, path, round] = process.argv.slice(2);
  const client = new WebSocketClient({ url, queue: { path, messages: 1_000_000 } });
  const room = client.channel("room");
  client.on("error", () => {});
  client.connect();
  for (let number = 0; number < 100_000; number++) {
    room.send("n", [Number(round), number]);
    writeSync(1, number + "\\n");
    if (number % 16 === 0) await new Promise(setImmediate);
  }`;

/** How many sends a process had accepted when it was killed. */
async function runAndKill(url, path, round, until) {
  const child = spawn(process.execPath, ["--input-type=module", "-", url, path, round], { cwd: packageDirectory });
  child.stdin.end(PROGRAM);
  const { signal, stdout, stderr } = await finish(child, (text) => {
    if (text.split("\n").length > until) child.kill("SIGKILL");
  });
  assert.deepEqual({ signal, stderr }, { signal: "SIGKILL", stderr: "" });
  return stdout.split("\n").length - 1;
}

test("what was accepted survives kill -9 and arrives exactly once", async (t) => {
  const server = await startServer(t);
  const watcher = await connected(t, server.url);
  const seen = new Map();
  const room = watcher.channel("room").subscribe();
  room.on("n", ([round, number]) => seen.set(round, [...(seen.get(round) ?? []), number]));
  const ended = new Promise((resolve) => room.on("end", resolve));
  await room.ready();
  const path = file(t);
  const accepted = [];
  for (const until of [1, 900, 333, 1700]) {
    // The last one never reaches the server, so that it surely leaves something.
    const url = accepted.length < 3 ? server.url : "ws://127.0.0.1:9";
    accepted.push(await runAndKill(url, path, accepted.length, until));
  }
  const last = await connected(t, server.url, { queue: { path } });
  await last.channel("room").send("end", null);
  assert.ok(last.getStats().restored >= accepted[3]);
  await within(ended, "the end");
  for (const [round, count] of accepted.entries()) {
    const numbers = seen.get(round) ?? [];
    // The last one may have been accepted without the time to say so.
    assert.ok(numbers.length === count || numbers.length === count + 1, `${round}: ${count}, ${numbers.length}`);
    assert.deepEqual(numbers, [...numbers.keys()]);
  }
});

test("a send is in the file when it returns, and a disconnect defers it", async (t) => {
  const path = file(t);
  const offline = newClient(t, "ws://127.0.0.1:9", { queue: { path } });
  void offline.connect().catch(() => {});
  const sending = offline.channel("room").send("n", "a text to look for");
  assert.ok(readFileSync(path).includes("a text to look for"));
  assert.throws(() => newClient(t, "ws://127.0.0.1:9", { queue: { path } }), { code: "outbox_in_use" });
  const failed = assert.rejects(sending, { code: "deferred" });
  while (offline.status === "disconnected") await new Promise((resolve) => offline.once("status", resolve));
  await within(offline.disconnect(), "the disconnect");
  await within(failed, "the failure");
  const server = await startServer(t);
  const client = await connected(t, server.url, { queue: { path } });
  assert.equal((await client.channel("room").send("n", 2)).offset, 2);
  assert.equal(client.getStats().restored, 1);
  await within(client.disconnect(), "the disconnect");
  // A client that never connected gives its file back as well.
  const never = newClient(t, server.url, { queue: { path } });
  await never.disconnect();
  newClient(t, server.url, { queue: { path } });
});

test("a damaged file is refused and left as it is", (t) => {
  const path = file(t);
  writeFileSync(path, "not an outbox");
  assert.throws(() => newClient(t, "ws://127.0.0.1:9", { queue: { path } }), {
    code: "outbox_damaged",
    message: /move it away to start without them/,
  });
  assert.equal(readFileSync(path, "utf8"), "not an outbox");
});
