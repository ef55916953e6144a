import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { RealtimeError, WebSocketClient } from "realtime-client";
import { EAGER, backend, connected, newClient, next, refusing, startProxy, startServer, within } from "./support.mjs";

test("connecting, and disconnecting again", async (t) => {
  const server = await startServer(t);
  const client = newClient(t, server.url);
  const statuses = [];
  client.on("status", (status) => statuses.push(status));
  const opened = next(client, "open");
  assert.equal(client.status, "disconnected");
  const connecting = client.connect();
  assert.equal(client.status, "connecting");
  await connecting;
  assert.ok(client.isConnected);
  const [info] = await opened;
  assert.equal(info.dialect, "realtime.v1");
  assert.equal(info.resumed, false);
  await client.connect();
  const closed = next(client, "close");
  await client.disconnect();
  assert.equal((await closed)[0].reconnecting, false);
  assert.equal(client.status, "disconnected");
  assert.deepEqual(statuses, ["connecting", "connected", "disconnected"]);
  await client.disconnect();
  await client.connect();
  assert.ok(client.isConnected, "a client can connect again");
});

test("asyncDispose disconnects", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  await client[Symbol.asyncDispose]();
  assert.equal(client.status, "disconnected");
});

test("options of the wrong type or range are refused where they are given", () => {
  const refused = (options, code, message) =>
    assert.throws(
      () => new WebSocketClient(options),
      (error) => {
        assert.ok(error instanceof RealtimeError, `${error}`);
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      },
    );
  const url = "ws://127.0.0.1:1";
  refused(undefined, "invalid_option", /object/);
  refused({}, "invalid_option", /url/);
  refused({ url: "http://x" }, "invalid_url", /ws or wss/);
  refused({ url: "nonsense" }, "invalid_url", /nonsense/);
  refused({ url: 5 }, "invalid_option", /url/);
  refused({ url, heartbeat: { intervall: 1 } }, "invalid_option", /heartbeat\.intervall/);
  refused({ url, connectTimeout: Number.NaN }, "invalid_option", /connectTimeout/);
  refused({ url, connectTimeout: 0 }, "invalid_option", /connectTimeout/);
  refused({ url, connectTimeout: "5s" }, "invalid_option", /connectTimeout/);
  refused({ url, queue: { whenFull: "explode" } }, "invalid_option", /whenFull/);
  refused({ url, queue: { messages: 1.5 } }, "invalid_option", /queue\.messages/);
  refused({ url, queue: 5 }, "invalid_option", /queue/);
  refused({ url, headers: { "x-a": () => 1 } }, "invalid_option", /function/);
  refused({ url, headers: { "x-a": "two\r\nlines" } }, "invalid_option", /headers/);
  refused({ url, rateLimit: 5n }, "invalid_option", /rateLimit/);
  refused({ url, ca: 5 }, "invalid_option", /ca/);
  refused({ url, ca: "no certificate" }, "invalid_option", /ca/);
  refused({ url, onOpen: 1 }, "invalid_option", /onOpen/);
});

test("headers, query and subprotocols reach the server", async (t) => {
  let request;
  const url = await backend(t, (_, incoming) => (request = incoming));
  await connected(t, `${url}/path?a=1`, {
    protocol: "plain",
    headers: { "x-me": "yes" },
    query: { b: "ü&" },
    token: "t0",
  });
  assert.equal(request.url, "/path?a=1&b=%C3%BC%26");
  assert.equal(request.headers["x-me"], "yes");
  assert.equal(request.headers.authorization, "Bearer t0");
});

test("an unreachable server: an error each, then the status error, and it goes on trying", async (t) => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address();
  taken.close();
  const client = newClient(t, `ws://127.0.0.1:${port}`);
  const errors = [];
  client.on("error", (error) => errors.push(error));
  await within(
    assert.rejects(client.connect(), (error) => error instanceof RealtimeError && error.code === "connect_failed"),
    "the rejection",
  );
  assert.equal(client.status, "error");
  assert.equal(errors.length, 5);
  assert.ok(errors.every((error) => error.code === "connect_failed"));
  await next(client, "error");
  const late = await startServer(t, { port });
  await next(client, "open");
  assert.ok(client.isConnected, "it found the server that came later");
  await late.stop();
});

test("maxAttempts ends it, and every pending send with it", async (t) => {
  const client = newClient(t, "ws://127.0.0.1:9", { reconnect: { ...EAGER, maxAttempts: 2 } });
  const connecting = client.connect();
  const sending = client.channel("room").send("said", 1);
  await assert.rejects(within(sending, "the failure"), { code: "max_attempts" });
  await assert.rejects(connecting, (error) => error instanceof RealtimeError);
  assert.equal(client.status, "error");
});

test("without reconnect the first loss is the last", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url, { reconnect: false });
  const closed = next(client, "close");
  server.disconnectAll();
  assert.equal((await closed)[0].reconnecting, false);
  assert.notEqual(client.status, "reconnecting");
  await assert.rejects(
    within(client.channel("room").send("said", 1), "the failure"),
    (e) => e instanceof RealtimeError,
  );
});

for (const [status, code] of [
  [401, "unauthenticated"],
  [403, "http_status"],
  [404, "http_status"],
]) {
  test(`HTTP ${status} on the upgrade ends the first connect`, async (t) => {
    const { url, seen } = await refusing(t, status);
    const client = newClient(t, url);
    client.on("error", () => {});
    await assert.rejects(within(client.connect(), "the rejection"), { code, status });
    assert.equal(client.status, "error");
    assert.equal(seen.length, 1);
  });
}

for (const status of [429, 503]) {
  test(`HTTP ${status} is tried again, not before Retry-After`, async (t) => {
    const { url, seen } = await refusing(t, status, { "retry-after": "1" });
    const client = newClient(t, url);
    void client.connect();
    const [error] = await next(client, "error");
    assert.equal(error.status, status);
    assert.equal(error.retryAfter, 1000);
    await next(client, "error");
    assert.ok(seen[1].at - seen[0].at >= 1000, `${seen[1].at - seen[0].at} ms apart`);
  });
}

test("a certificate that nobody vouches for", async (t) => {
  const { certificate, key } = await selfSigned();
  const server = await startServer(t, { tlsCertificate: certificate, tlsKey: key });
  const url = server.url.replace("127.0.0.1", "localhost");
  assert.match(url, /^wss:/);
  const distrustful = newClient(t, url);
  distrustful.on("error", () => {});
  await assert.rejects(within(distrustful.connect(), "the rejection"), { code: "tls_failed" });
  await distrustful.disconnect();
  const trusting = await connected(t, url, { ca: Buffer.from(certificate) });
  assert.ok(trusting.isConnected);
});

test("the token provider is asked afresh on every connect", async (t) => {
  const server = await startServer(t, { tokenSecret: "secret" });
  let asked = 0;
  const token = async () => {
    asked++;
    return "secret";
  };
  const client = await connected(t, server.url, { token });
  assert.equal(asked, 1);
  const opened = next(client, "open");
  server.disconnectAll();
  await opened;
  assert.equal(asked, 2);
});

test("a token provider that throws, and one that gives nonsense", async (t) => {
  const server = await startServer(t);
  for (const token of [() => Promise.reject(new Error("no luck")), () => ({ not: "a string" })]) {
    const client = newClient(t, server.url, { token });
    const failed = next(client, "error");
    void client.connect();
    const [error] = await failed;
    assert.equal(error.code, "token_failed");
    assert.match(error.message, /no luck|not a string/);
    await client.disconnect();
  }
});

test("a token provider that hangs", async (t) => {
  const server = await startServer(t);
  const client = newClient(t, server.url, { token: () => new Promise(() => {}), tokenTimeout: 50 });
  const failed = next(client, "error");
  void client.connect();
  const [error] = await failed;
  assert.equal(error.code, "timeout");
  assert.match(error.message, /token provider/);
});

test("a half-open connection is noticed and replaced", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server.url);
  const client = await connected(t, proxy.url, { heartbeat: { interval: 50, timeout: 200 } });
  const closed = next(client, "close");
  proxy.stall();
  const [info] = await closed;
  assert.ok(info.reconnecting);
  assert.notEqual(client.status, "connected");
  const opened = next(client, "open");
  proxy.restore();
  assert.equal((await opened)[0].resumed, true);
});

test("a server that closes at once, in a loop", async (t) => {
  let times = 0;
  const url = await backend(t, (socket) => {
    times++;
    socket.close(1011, "not today");
  });
  const client = newClient(t, url, { protocol: "plain" });
  void client.connect();
  await next(client, "close", () => times >= 5);
  assert.ok(["reconnecting", "error", "connected", "connecting"].includes(client.status), client.status);
  await client.disconnect();
  assert.equal(client.status, "disconnected");
});

test("a terminal close code is final", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const status = next(client, "status", (value) => value === "error");
  server.disconnectAll(4501);
  const [, detail] = await status;
  assert.equal(detail.reason.code, "rejected");
  assert.equal(detail.reason.closeCode, 4501);
  assert.equal(detail.retryIn, undefined);
});

test("disconnect while connecting rejects the connect", async (t) => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  t.after(() => silent.close());
  const client = newClient(t, `ws://127.0.0.1:${silent.address().port}`);
  const connecting = client.connect();
  await client.disconnect();
  await assert.rejects(connecting, { code: "closed" });
});

test("disconnect waits for the receipts", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  const sends = Array.from({ length: 500 }, (_, n) => client.channel("room").send("said", n));
  await client.disconnect();
  const receipts = await Promise.all(sends);
  assert.deepEqual(
    receipts.map((receipt) => receipt.offset),
    Array.from({ length: 500 }, (_, n) => n + 1),
  );
  await assert.rejects(client.channel("room").send("said", 1), { code: "closed" });
});

test("the figures", async (t) => {
  const server = await startServer(t);
  const client = await connected(t, server.url);
  await client.channel("room").send("said", 1);
  const stats = client.getStats();
  assert.equal(stats.status, "connected");
  assert.equal(stats.messagesSent, 1);
  assert.equal(stats.acknowledged, 1);
  assert.equal(stats.queued, 0);
  assert.ok(Math.abs(stats.connectedAt - Date.now()) < 60_000);
  assert.ok(stats.latency > 0 && stats.bytesSent > 0 && stats.bytesReceived > 0);
  assert.equal(stats.quality, "excellent");
});

/** A certificate of its own for `localhost`, made by openssl. */
async function selfSigned() {
  const { execFileSync } = await import("node:child_process");
  const { mkdtempSync, readFileSync, rmSync } = await import("node:fs");
  const { tmpdir } = await import("node:os");
  const { join } = await import("node:path");
  const directory = mkdtempSync(join(tmpdir(), "realtime-tls-"));
  const [keyFile, certificateFile] = [join(directory, "key.pem"), join(directory, "certificate.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const ours = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"];
  const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  execFileSync("openssl", [...kind, "-keyout", keyFile, "-out", certificateFile, ...subject, ...ours], {
    stdio: "ignore",
  });
  const pair = { certificate: readFileSync(certificateFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  rmSync(directory, { recursive: true });
  return pair;
}
