// A handler that is slower than the stream: memory is bounded, others go on, and what waits comes or is reported.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { collect, connected, within } from "./support.mjs";

const INBOX = 2 << 20;
const CHANNEL_INBOX = 1 << 20;
const PADDING = 64 << 10;
/** 64 MiB. */
const MESSAGES = 1024;
/** What a process may grow by besides the inbox: batches, buffers of the socket, the heap of JavaScript between collections. */
const OVERHEAD = 16 << 20;
const KEEPS_ALL = { historyMessages: 10_000, historyBytes: 256 << 20 };

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");

function resident() {
  collectGarbage();
  return process.memoryUsage.rss();
}

/** A server in a process of its own, whose memory is not counted here. */
async function startFeed(t, options) {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL("feed.mjs", import.meta.url)), JSON.stringify(options)],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => (await within(lines.next(), "a line of the feed", 60_000)).value;
  t.after(async () => {
    child.stdin.end();
    if (child.exitCode === null) await once(child, "exit");
  });
  const feed = async (messages, bytes, fast) => {
    child.stdin.write(`${messages} ${bytes} ${fast}\n`);
    assert.equal(await line(), "done");
  };
  return { url: await line(), feed };
}

/** A handler that finishes nothing until it is released. */
function stall(channel) {
  const begun = [];
  let release;
  const released = new Promise((resolve) => (release = resolve));
  let waiting;
  channel.on("n", async ({ n }) => {
    begun.push(n);
    if (begun.length >= waiting?.count) waiting.resolve();
    await released;
  });
  const reach = (count) => {
    if (begun.length >= count) return Promise.resolve();
    return within(new Promise((resolve) => (waiting = { count, resolve })), `message ${count}`, 60_000);
  };
  return { begun, release, reach };
}

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

for (const [what, history] of [
  ["is caught up", KEEPS_ALL],
  ["gets a gap", { historyBytes: 16 << 20 }],
]) {
  test(`a stalled handler is bounded, holds up no other, and ${what}`, async (t) => {
    const { url, feed } = await startFeed(t, history);
    const client = await connected(t, url, { inbox: { bytes: INBOX, channelBytes: CHANNEL_INBOX } });
    const [room, fast] = [client.channel("slow"), client.channel("fast")];
    const [slow, got, gaps] = [stall(room), collect(fast, "n"), collect(room, "gap")];
    await Promise.all([room.subscribe().ready(), fast.subscribe().ready()]);
    const before = resident();
    await feed(MESSAGES, PADDING, 500);
    // The others went on meanwhile, and a send has its receipt.
    await got.reach(500);
    assert.deepEqual(
      got.items.map((message) => message.data),
      range(1, 500),
    );
    assert.equal((await fast.send("n", 0)).offset, 501);
    assert.deepEqual(slow.begun, [1]);
    assert.ok(client.getStats().unconsumedBytes <= CHANNEL_INBOX + 2 * PADDING);
    const grown = resident() - before;
    assert.ok(grown <= INBOX + OVERHEAD, `${grown >> 20} MiB for a stream of ${(MESSAGES * PADDING) >> 20} MiB`);

    slow.release();
    if (history === KEEPS_ALL) {
      await slow.reach(MESSAGES);
      assert.deepEqual(slow.begun, range(1, MESSAGES));
      assert.equal(gaps.items.length, 0);
    } else {
      await gaps.reach(1);
      const { reason, from, to } = gaps.items[0];
      assert.equal(reason, "evicted");
      assert.ok(to - from > MESSAGES / 2);
      const came = [...range(1, from - 1), ...range(to + 1, MESSAGES)];
      await slow.reach(came.length);
      assert.deepEqual(slow.begun, came);
    }
    assert.equal(client.getStats().gaps, gaps.items.length);
    assert.equal(client.getStats().reconnects, 0);
  });
}

test("a stalled handler in plain slows the socket, and is no dead connection", async (t) => {
  // A socket that takes nothing for long is closed by the server, and `plain` has no positions to go on from.
  const { url, feed } = await startFeed(t, { ...KEEPS_ALL, writeTimeout: 600_000 });
  const heartbeat = { interval: 100, timeout: 500 };
  const client = await connected(t, url, { protocol: "plain", inbox: { bytes: INBOX }, heartbeat });
  const room = client.channel("slow");
  const slow = stall(room);
  await room.subscribe().ready();
  const before = resident();
  let handedOver = 0;
  const full = new Promise((resolve) => {
    client.on("message", () => ++handedOver * PADDING >= INBOX && resolve());
  });
  await feed(MESSAGES, PADDING, 0);
  await within(full, "a full inbox");
  assert.deepEqual(slow.begun, [1]);
  assert.ok(client.getStats().unconsumedBytes <= INBOX + (1 << 20));
  const grown = resident() - before;
  assert.ok(grown <= INBOX + OVERHEAD, `${grown >> 20} MiB for a stream of ${(MESSAGES * PADDING) >> 20} MiB`);
  slow.release();
  await slow.reach(MESSAGES);
  assert.deepEqual(slow.begun, range(1, MESSAGES));
  assert.equal(client.getStats().reconnects, 0);
});
