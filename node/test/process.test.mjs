import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { connected, finish, packageDirectory, run, startServer, within } from "./support.mjs";

/** A program with a client of this server, connected, in a process of its own. */
function program(server, body, options) {
  return run(
    `import { WebSocketClient } from "realtime-client";
     const client = new WebSocketClient({ url: "${server.url}", reconnect: { first: 5, base: 10, max: 20 } });
     const room = client.channel("room").subscribe();
     await client.connect();
     await room.ready();
     ${body}`,
    options,
  );
}

const clean = (result, code = 0) => {
  assert.equal(result.stderr, "");
  assert.equal(result.signal, null);
  assert.equal(result.code, code);
};

test("an open client keeps the process alive, a disconnected one does not", async (t) => {
  const server = await startServer(t);
  const control = await connected(t, server.url);
  const result = program(
    server,
    `room.on("finish", () => client.disconnect());
     process.on("exit", () => console.log("exit while", client.status));
     room.send("up", 1);`,
  );
  const room = control.channel("room").subscribe();
  await new Promise((resolve) => room.on("up", resolve));
  await room.send("finish", 1);
  const ended = await result;
  clean(ended);
  assert.equal(ended.stdout, "exit while disconnected\n");
});

test("an unreferenced client lets the process end while it is open", async (t) => {
  const server = await startServer(t);
  const ended = await program(server, `client.unref(); process.on("exit", () => console.log(client.status));`);
  clean(ended);
  assert.equal(ended.stdout, "connected\n");
  const again = await program(server, `client.unref().ref(); setImmediate(() => process.exit(3));`);
  clean(again, 3);
});

test("process.exit while open, while connecting, and while sending", async (t) => {
  const server = await startServer(t);
  clean(await program(server, `process.exit(7);`), 7);
  clean(await program(server, `for (let n = 0; n < 10000; n++) room.send("said", n); process.exit(7);`), 7);
  clean(await program(server, `room.on("said", () => process.exit(7)); room.send("said", 1);`), 7);
  clean(
    await run(`
    import { WebSocketClient } from "realtime-client";
    void new WebSocketClient({ url: "${server.url}" }).connect();
    process.exit(7);
  `),
    7,
  );
});

test("a client that was never connected, and one that was forgotten", async (t) => {
  const server = await startServer(t);
  clean(
    await run(`
    import { WebSocketClient } from "realtime-client";
    new WebSocketClient({ url: "${server.url}" }).channel("room").subscribe();
  `),
  );
  const { stdout, ...ended } = await run(`
    import { WebSocketClient } from "realtime-client";
    import { setFlagsFromString } from "node:v8";
    import { runInNewContext } from "node:vm";
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc");
    const registry = new FinalizationRegistry(() => { console.log("collected"); clearInterval(timer); });
    const timer = setInterval(gc, 10);
    await (async () => {
      const client = new WebSocketClient({ url: "${server.url}" });
      registry.register(client, 0);
      await client.connect();
      await client.channel("room").subscribe().ready();
      await client.disconnect();
    })();
  `);
  clean(ended);
  assert.equal(stdout, "collected\n");
  assert.equal(server.connectionCount, 0);
});

test("an uncaught exception ends the process as it always does", async (t) => {
  const server = await startServer(t);
  const ended = await program(server, `setImmediate(() => { throw new Error("the program's own"); });`);
  assert.equal(ended.code, 1);
  assert.match(ended.stderr, /the program's own/);
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  test(`${signal} while open`, async (t) => {
    const server = await startServer(t);
    const ended = await program(server, `console.log("up");`, {
      onOutput: (text, child) => text.includes("up") && child.kill(signal),
    });
    assert.equal(ended.signal, signal);
    assert.equal(ended.stderr, "");
  });
}

const WORKER = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { WebSocketClient } = require("realtime-client");
  const client = new WebSocketClient({ url: workerData.url });
  const room = client.channel("room").subscribe();
  room.on("said", (n) => parentPort.postMessage(n));
  client.connect().then(() => room.ready()).then(() => parentPort.postMessage("ready"));
  parentPort.on("message", async (what) => {
    if (what === "send") for (let n = 0; n < 100; n++) void room.send("said", n);
    if (what === "flood") for (let n = 0; n < 100000; n++) void room.send("said", "x".repeat(100));
    if (what === "stop") { await client.disconnect(); parentPort.close(); }
  });
`;

function startWorker(server) {
  const worker = new Worker(WORKER, { eval: true, workerData: { url: server.url } });
  const messages = [];
  const waiting = [];
  worker.on("message", (message) => {
    messages.push(message);
    for (const { matches, resolve } of waiting) if (matches(messages)) resolve();
  });
  const when = (matches) => {
    const met = new Promise((resolve) => waiting.push({ matches, resolve }));
    return within(matches(messages) ? Promise.resolve() : met, "the worker's message");
  };
  return { worker, messages, when, ended: new Promise((resolve) => worker.once("exit", resolve)) };
}

test("clients in several worker threads and the main thread", async (t) => {
  const server = await startServer(t);
  const workers = [startWorker(server), startWorker(server), startWorker(server)];
  await Promise.all(workers.map(({ when }) => when((messages) => messages.includes("ready"))));
  const own = await connected(t, server.url);
  const room = own.channel("room").subscribe();
  let seen = 0;
  const all = new Promise((resolve) => room.on("said", () => ++seen === 300 && resolve()));
  await room.ready();
  for (const { worker } of workers) worker.postMessage("send");
  await within(all, "300 messages");
  await Promise.all(workers.map(({ when }) => when((messages) => messages.length === 301)));
  for (const { worker } of workers) worker.postMessage("stop");
  const codes = await within(Promise.all(workers.map(({ ended }) => ended)), "the end of the workers");
  assert.deepEqual(codes, [0, 0, 0]);
});

test("a worker that is terminated while its client is open", async (t) => {
  const server = await startServer(t);
  for (let round = 0; round < 5; round++) {
    const { worker, when } = startWorker(server);
    await when((messages) => messages.includes("ready"));
    if (round > 1) {
      worker.postMessage("flood");
      await when((messages) => messages.length > 50);
    }
    await within(worker.terminate(), "the end of the worker");
  }
  const after = await connected(t, server.url);
  assert.ok((await after.channel("room").send("said", 1)).offset > 0);
});

test("the command line: realtime serve", async () => {
  const child = spawn(process.execPath, ["bin/realtime.js", "serve", "--port", "0"], { cwd: packageDirectory });
  let url;
  const result = finish(child, (text) => {
    const found = /ws:\/\/[^\s]+:\d+/.exec(text);
    if (found === null || url !== undefined) return;
    [url] = found;
    import("realtime-client").then(async ({ WebSocketClient }) => {
      const client = new WebSocketClient({ url });
      await client.connect();
      await client.channel("room").send("said", 1);
      await client.disconnect();
      child.kill("SIGINT");
    });
  });
  const { code } = await result;
  assert.match(url, /^ws:/);
  assert.equal(code, 0);
});

test("the command line: help and mistakes", async () => {
  const help = await finish(spawn(process.execPath, ["bin/realtime.js", "--help"], { cwd: packageDirectory }));
  assert.equal(help.code, 0);
  assert.match(help.stdout, /serve/);
  const wrong = await finish(spawn(process.execPath, ["bin/realtime.js", "nonsense"], { cwd: packageDirectory }));
  assert.notEqual(wrong.code, 0);
  assert.match(wrong.stderr, /nonsense/);
});
