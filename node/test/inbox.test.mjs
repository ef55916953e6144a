// The two ends of a batch: what bindings/node/src/batch.rs writes is read by src/inbox.ts.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { collect, connected, startServer } from "./support.mjs";

const { drain } = createRequire(import.meta.url)("../dist/inbox.js");

const [MESSAGE, RECEIPT, REPORT] = [0, 2, 4];
const [SAME, BINARY, USER, ACKNOWLEDGED, DUPLICATE, NAMED] = [0x10, 0x20, 0x40, 0x80, 0x100, 0x200];

/** A native side that has one batch. The payloads of messages stand behind all other texts. */
function batch(rows, own, payloads, binaries = []) {
  const texts = [...own, ...payloads];
  let drained = false;
  const calls = { texts: 0 };
  return {
    calls,
    drain(records) {
      if (drained) return null;
      drained = true;
      records.set([rows.length, own.length, payloads.length, binaries.length]);
      rows.forEach((row, index) => records.set(row, 4 + index * 6));
      return `[${texts.join(",")}]`;
    },
    binaries: () => binaries,
    texts() {
      calls.texts++;
      return texts;
    },
  };
}

function read(native) {
  const log = [];
  const sink = {
    message: ({ event, data, user, offset }) => log.push({ event, data, user, offset }),
    receipt: (...receipt) => log.push(receipt),
    failed: (request, error) => log.push([request, error.code]),
    report: (report) => log.push(report),
    malformed: (error, channel, size) => log.push([error.code, channel, size]),
  };
  while (drain(native, sink));
  return log;
}

const message = (flags, offset) => [MESSAGE | flags, 7, offset, -1, 10, 0];

test("a batch is parsed at once, and events that repeat cross once", () => {
  const native = batch(
    [
      message(NAMED, 1),
      message(NAMED | SAME, 2),
      message(NAMED | USER, 3),
      message(NAMED | SAME | BINARY, 4),
      [RECEIPT | NAMED | ACKNOWLEDGED | DUPLICATE, -1, 9, -1, 0, 5],
      [REPORT, -1, -1, -1, 0, 0],
    ],
    ['"a"', '"b"', '"me"', '"epoch"', '{"type":"writable"}'],
    ["1", "null", '{"x":[]}'],
    [Buffer.from("raw")],
  );
  assert.deepEqual(read(native), [
    { event: "a", data: 1, user: undefined, offset: 1 },
    { event: "a", data: null, user: undefined, offset: 2 },
    { event: "b", data: { x: [] }, user: "me", offset: 3 },
    { event: "b", data: Buffer.from("raw"), user: undefined, offset: 4 },
    [5, "epoch", 9, true, true],
    { type: "writable" },
  ]);
  assert.equal(native.calls.texts, 0);
});

for (const [name, payload] of [
  ["no JSON at all", "{bad}"],
  ["one that adds an element", '5,"x"'],
  ["one that closes the array", "1],[2"],
  ["half a string", '"half'],
]) {
  test(`a bad payload fails alone: ${name}`, () => {
    const native = batch(
      [message(NAMED, 1), message(NAMED | SAME, 2), message(NAMED | SAME, 3), [RECEIPT, -1, -1, -1, 0, 5]],
      ['"a"'],
      ["1", payload, '"three"'],
    );
    assert.deepEqual(read(native), [
      { event: "a", data: 1, user: undefined, offset: 1 },
      ["malformed", 7, 10],
      { event: "a", data: "three", user: undefined, offset: 3 },
      [5, undefined, undefined, false, false],
    ]);
    assert.equal(native.calls.texts, 1);
  });
}

test("payloads that break the array in pairs shift payloads, and nothing else", () => {
  const native = batch(
    [
      message(NAMED, 1),
      [RECEIPT | NAMED, -1, 9, -1, 0, 5],
      message(NAMED | USER, 2),
      [REPORT, -1, -1, -1, 0, 0],
      message(NAMED | SAME, 3),
    ],
    ['"a"', '"epoch"', '"b"', '"me"', '{"type":"writable"}'],
    ["[[1]", "[2]]", "{},{}"],
  );
  assert.deepEqual(read(native), [
    { event: "a", data: [[1], [2]], user: undefined, offset: 1 },
    [5, "epoch", 9, false, false],
    { event: "b", data: {}, user: "me", offset: 2 },
    { type: "writable" },
    { event: "b", data: {}, user: undefined, offset: 3 },
  ]);
  assert.equal(native.calls.texts, 0);
});

test("more records than one part has room for", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const room = client.channel("room").subscribe();
  const [numbers, odd] = [collect(room, "n"), collect(room, "o")];
  await room.ready();
  for (let n = 0; n < 9000; n++) server.publish("room", n % 2 ? "o" : "n", n % 5 ? n : Buffer.from([n & 255]));
  await Promise.all([numbers.reach(4500), odd.reach(4500)]);
  const all = [...numbers.items, ...odd.items].sort((a, b) => a.offset - b.offset);
  all.forEach(({ data, binary, event, offset }, n) => {
    assert.equal(offset, n + 1);
    assert.equal(event, n % 2 ? "o" : "n");
    if (n % 5) assert.equal(data, n);
    else assert.deepEqual([binary, data[0]], [true, n & 255]);
  });
});
