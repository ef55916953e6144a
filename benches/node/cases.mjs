// What is done in each case, and what has to come of it: whatever is lost, swapped or repeated ends the process.
import { fail, start, resident } from "./measure.mjs";
import { FIRST, numbered, payloads } from "./subject.mjs";

/** What has not come yet, for a run that finds no end. */
export const missing = [];

export const measures = { receive, send, request, echo, connect, idle, resubscribe, "catch-up": catchUp };

/** The user's callback: reads one field, and fails on what is lost or out of order. */
function receiver({ channels, count }, channel, finished) {
  let expected = FIRST + channel;
  const end = FIRST + count;
  missing.push(() => `message ${expected} of room-${channel}`);
  return (data) => {
    if (data.seq !== expected) fail(`room-${channel}: message ${data.seq} came instead of ${expected}`);
    expected += channels;
    if (expected >= end) finished();
  };
}

/** A promise, and the function that fulfils it. */
function deferred() {
  let resolve;
  const promise = new Promise((fulfil) => (resolve = fulfil));
  return [promise, resolve];
}

/** Values that are awaited one by one; those that come before are kept. */
function inbox() {
  const values = [];
  let waiting;
  return {
    put(value) {
      values.push(value);
      waiting?.();
    },
    async next() {
      while (values.length === 0) await new Promise((resolve) => (waiting = resolve));
      return values.shift();
    },
  };
}

const first = (handler) => new Map([["room-0", handler]]);

async function receive(make, of) {
  const subject = make();
  let left = of.channels;
  const [end, done] = deferred();
  const finished = () => --left === 0 && done();
  await subject.open(of, new Map(of.names.map((name, index) => [name, receiver(of, index, finished)])));
  const clock = start();
  subject.send(numbered(0));
  await end;
  const result = clock.stop(of.count);
  await subject.close();
  return result;
}

async function send(make, of) {
  const subject = make();
  const [end, done] = deferred();
  await subject.open(
    of,
    first((data) => done(data.seq)),
  );
  const clock = start();
  await subject.sendAll(payloads(of.count));
  await last(end, of);
  const result = clock.stop(of.count);
  await subject.close();
  return result;
}

async function request(make, of) {
  const subject = make();
  const [end, done] = deferred();
  await subject.open(
    of,
    first((data) => done(data.seq)),
  );
  const times = [];
  const clock = start();
  for (const payload of payloads(of.count)) {
    const begun = performance.now();
    await subject.request(payload);
    times.push((performance.now() - begun) * 1000);
  }
  await last(end, of);
  const result = clock.stop(of.count, { times });
  await subject.close();
  return result;
}

/** The server has told that it has everything, in order. */
async function last(end, { count }) {
  const number = FIRST + count - 1;
  missing.push(() => `that the server has message ${number}`);
  const seq = await end;
  if (seq !== number) fail(`the server told of message ${seq} instead of ${number}`);
}

async function echo(make, of) {
  const subject = make();
  let back;
  await subject.open(
    of,
    first((data) => back(data.seq)),
  );
  let expected = FIRST;
  missing.push(() => `message ${expected}`);
  const times = [];
  const clock = start();
  for (const payload of payloads(of.count)) {
    const begun = performance.now();
    const answer = new Promise((resolve) => (back = resolve));
    subject.send(payload);
    const seq = await answer;
    times.push((performance.now() - begun) * 1000);
    if (seq !== expected) fail(`message ${seq} came instead of ${expected}`);
    expected++;
  }
  const result = clock.stop(of.count, { times });
  await subject.close();
  return result;
}

async function connect(make, of) {
  const times = [];
  const clock = start();
  for (let count = 0; count < of.count; count++) {
    const subject = make();
    const begun = performance.now();
    await subject.open(
      of,
      first(() => {}),
    );
    times.push((performance.now() - begun) * 1000);
    await subject.close();
  }
  return clock.stop(of.count, { times });
}

/** Connections that are open and subscribed; what the first one costs more is the library's own. */
async function idle(make, of) {
  const subjects = Array.from({ length: of.count }, make);
  const clock = start();
  await subjects[0].open(
    of,
    first(() => {}),
  );
  const before = await resident();
  for (const subject of subjects.slice(1))
    await subject.open(
      of,
      first(() => {}),
    );
  const after = await resident();
  const result = clock.stop(of.count, { idle: (after - before) / (of.count - 1) });
  await Promise.all(subjects.map((subject) => subject.close()));
  return result;
}

/** The server counts from the new connection to the word that the last channel is there. */
async function resubscribe(make, of) {
  const subject = make();
  const told = inbox();
  const handler = (data) => told.put(data.seq - FIRST);
  await subject.open(of, new Map(of.names.map((name) => [name, handler])));
  missing.push(() => "that all channels are subscribed");
  await told.next();
  const times = [];
  const clock = start();
  for (let cuts = 0; cuts < of.count; cuts++) {
    subject.send(numbered(0));
    const number = await told.next();
    if (number !== 0) fail(`message ${number} came before all channels were subscribed again`);
    subject.send(numbered(1));
    times.push(await told.next());
  }
  const result = clock.stop(of.count, { times });
  await subject.close();
  return result;
}

/** The server counts from the new connection to the word that the last message is there. */
async function catchUp(make, of) {
  const subject = make();
  const [end, done] = deferred();
  const [answer, answered] = deferred();
  let whole = false;
  const receive = receiver(of, 0, () => {
    whole = true;
    done();
  });
  await subject.open(
    of,
    first((data) => (whole ? answered(data.seq - FIRST) : receive(data))),
  );
  const clock = start();
  subject.send(numbered(0));
  await end;
  subject.send(numbered(1));
  const result = clock.stop(of.count, { times: [await answer] });
  await subject.close();
  return result;
}
