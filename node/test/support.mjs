// What the tests share. Everything that is started is stopped with its test; every wait is bounded.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { WebSocketClient } from "realtime-client";
import { FaultProxy, RealtimeServer } from "realtime-client/testing";
import { WebSocketServer } from "ws";

const LIMIT_MS = 15_000;

export const packageDirectory = fileURLToPath(new URL("..", import.meta.url));

const cleanups = new WeakMap();

/** Runs at the end of the test, the last one first: clients go before the servers that they are connected to. */
function defer(t, cleanup) {
  let stack = cleanups.get(t);
  if (stack === undefined) {
    cleanups.set(t, (stack = []));
    t.after(async () => {
      for (const each of stack.reverse()) await each();
    });
  }
  stack.push(cleanup);
}

/** Fails what takes too long instead of hanging. */
export function within(promise, what, limit = LIMIT_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen within ${limit} ms`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The arguments of the next event for which `matches` holds. */
export function next(emitter, event, matches = () => true) {
  const found = new Promise((resolve) => {
    const remove = emitter.on(event, (...args) => {
      if (!matches(...args)) return;
      remove();
      resolve(args);
    });
  });
  return within(found, `event ${event}`);
}

/** Collects what a channel's event brings, and waits for a number of them. */
export function collect(emitter, event) {
  const items = [];
  let waiting;
  emitter.on(event, (data, message) => {
    items.push(message ?? data);
    if (items.length >= waiting?.count) waiting.resolve();
  });
  return {
    items,
    reach(count) {
      if (items.length >= count) return Promise.resolve();
      const reached = new Promise((resolve) => (waiting = { count, resolve }));
      return within(reached, `item ${count} of ${event}`).catch((error) => {
        throw new Error(`${error.message}; there are ${items.length}`);
      });
    },
  };
}

export async function startServer(t, options) {
  const server = await new RealtimeServer(options).start();
  defer(t, () => server.stop());
  return server;
}

export async function startProxy(t, target) {
  const proxy = new FaultProxy(target);
  await proxy.start();
  defer(t, () => proxy.stop());
  return proxy;
}

/** Retries at once, so that tests of reconnects are quick. */
export const EAGER = { first: 5, base: 10, max: 20 };

export function newClient(t, url, options = {}) {
  const client = new WebSocketClient({ url, reconnect: EAGER, ...options });
  // Most tests break something on purpose: no warnings for that.
  client.on("error", () => {});
  defer(t, () => client.disconnect());
  return client;
}

export async function connected(t, url, options) {
  const client = newClient(t, url, options);
  await within(client.connect(), "connecting");
  return client;
}

/** A backend made of the npm package `ws`: `behave(socket, request)` says what it does. Offers no subprotocol by default. */
export async function backend(t, behave, options = {}) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, handleProtocols: () => false, ...options });
  await once(server, "listening");
  server.on("connection", behave);
  defer(t, () => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return `ws://127.0.0.1:${server.address().port}`;
}

/** A backend that speaks as much `realtime.v1` as a test needs; `answer(message, send)` handles what comes after `hello`. */
export function v1Backend(t, answer) {
  const behave = (socket) => {
    const send = (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message));
    socket.on("message", (data) => {
      for (const line of data.toString().split("\n")) {
        const message = JSON.parse(line);
        if (message.type === "hello") send({ ...WELCOME, session: message.session, time: Date.now() });
        else if (message.type === "ping") send({ type: "pong", id: message.id, time: Date.now() });
        else answer(message, send, socket);
      }
    });
  };
  return backend(t, behave, { handleProtocols: () => "realtime.v1" });
}

const WELCOME = {
  type: "welcome",
  connection: "c1",
  resumed: false,
  heartbeat: 25_000,
  timeout: 60_000,
  encoding: "text",
  limits: { frame: 1 << 20, payload: 1 << 20, channels: 100, inflight: 1000, rate: 0 },
  server: "test",
};

/** A server that answers every upgrade with this HTTP status. */
export async function refusing(t, status, headers = {}) {
  const seen = [];
  const server = createServer((_, response) => response.writeHead(status, headers).end());
  server.on("upgrade", (request, socket) => {
    seen.push({ at: Date.now(), request });
    const lines = Object.entries({ connection: "close", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.end(`HTTP/1.1 ${status} Refused\r\n${lines.join("")}content-length: 0\r\n\r\n`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(t, () => server.close());
  return { url: `ws://127.0.0.1:${server.address().port}`, seen };
}

/** Runs a program in a process of its own, and gives what it wrote and how it ended. */
export async function run(source, { args = [], type = "module", onOutput } = {}) {
  const child = spawn(process.execPath, [`--input-type=${type}`, "-", ...args], { cwd: packageDirectory });
  child.stdin.end(source);
  return finish(child, onOutput);
}

export async function finish(child, onOutput) {
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
    onOutput?.(stdout, child);
  });
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  try {
    const [code, signal] = await within(once(child, "close"), "the end of the process", 10_000);
    return { code, signal, stdout, stderr };
  } catch (error) {
    child.kill("SIGKILL");
    throw new Error(`${error.message}\nstdout: ${stdout}\nstderr: ${stderr}`);
  }
}
