// The behaviour scenarios that all languages share; the format is in tests/scenarios/README.md.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { WebSocketClient } from "realtime-client";
import { next, startProxy, startServer, within } from "./support.mjs";

const FOLDER = new URL("../../tests/scenarios/", import.meta.url);
const STEP_MS = 10_000;
const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));

test("there are scenarios", () => assert.ok(files.length > 0));

for (const file of files) {
  const scenario = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));
  test(`${file}: ${scenario.name}`, async (t) => {
    const server = await startServer(t, scenario.server);
    const runner = new Runner(server, await startProxy(t, server.url));
    try {
      for (const [index, step] of scenario.steps.entries()) {
        const what = `step ${index + 1} ${JSON.stringify(step)}`;
        await within(runner.run(step), what, STEP_MS).catch((error) => {
          throw new Error(`${what}: ${error.message}`, { cause: error });
        });
      }
    } finally {
      await runner.stop();
    }
  });
}

/** A client of a scenario, and what it has noted. */
class Person {
  constructor(client) {
    Object.assign(this, {
      client,
      messages: {},
      gaps: {},
      loads: {},
      loadEnds: {},
      directs: [],
      statuses: [],
      errors: [],
      later: [],
      presence: {},
      collections: {},
    });
    this.waiting = new Set();
    client.on("message", (message) => {
      if (message.channel !== undefined) this.note((this.messages[message.channel] ??= []), message);
      else this.note(this.directs, message.binary ? hex(message.data) : [message.event, message.data]);
    });
    client.on("status", (status) => this.note(this.statuses, status));
    client.on("error", (error) => this.note(this.errors, error.code));
  }

  note(notes, value) {
    notes.push(value);
    this.look();
  }

  look() {
    for (const check of this.waiting) check();
  }

  /** Waits until something is noted for which `done` holds. */
  until(done) {
    return new Promise((resolve) => {
      const check = () => done() && (this.waiting.delete(check), resolve());
      this.waiting.add(check);
      check();
    });
  }
}

class Runner {
  people = new Map();

  constructor(server, proxy) {
    Object.assign(this, { server, proxy });
  }

  async stop() {
    for (const { client } of this.people.values()) await client.disconnect();
  }

  async run({ do: name, client, ...fields }) {
    assert.ok(typeof this[name] === "function", `no step ${name}`);
    const person = this.people.get(client);
    const { error, current, revision } = fields;
    if (error === undefined || name === "settle") return this[name](person, fields);
    await assert.rejects(this[name](person, fields), (thrown) => {
      assert.equal(thrown.code, error, thrown.stack);
      if (current !== undefined) assert.deepEqual(thrown.current, current);
      if (revision !== undefined) assert.equal(thrown.revision, revision);
      return true;
    });
  }

  async client(_, { as, via = "proxy", options = {} }) {
    this.people.set(as, new Person(new WebSocketClient({ url: this[via].url, ...options })));
  }

  connect = ({ client }) => client.connect();
  disconnect = ({ client }) => client.disconnect();

  async subscribe(person, { channel: name }) {
    const channel = person.client.channel(name);
    if (channel.listenerCount("gap") === 0) {
      channel.on("gap", (gap) => person.note((person.gaps[name] ??= []), gap.reason));
    }
    await channel.subscribe().ready();
  }

  async unsubscribe({ client }, { channel: name }) {
    const channel = client.channel(name);
    const idle = next(channel, "state", (state) => state === "idle");
    channel.unsubscribe();
    await idle;
  }

  async send({ client }, { channel, event, acknowledged, ...rest }) {
    const receipt = await client.channel(channel).send(event, data(rest));
    if (acknowledged !== undefined) assert.equal(receipt.acknowledged, acknowledged);
  }

  async sendLater(person, { channel, event, count, ...rest }) {
    const payloads = count === undefined ? [data(rest)] : range(count);
    for (const payload of payloads) person.later.push(person.client.channel(channel).send(event, payload));
  }

  async settle(person, { error }) {
    const sends = person.later.splice(0);
    assert.ok(sends.length > 0, "nothing to settle");
    for (const { reason } of await Promise.allSettled(sends)) assert.equal(reason?.code, error, reason?.message);
  }

  async direct({ client }, { type, ...rest }) {
    await (type === undefined ? client.sendBinary(data(rest)) : client.send(type, data(rest)));
  }

  cut = async () => this.proxy.cut();
  cutConnections = async () => this.proxy.cutConnections();
  stall = async () => this.proxy.stall();
  restore = async () => this.proxy.restore();

  async restartServer() {
    await this.server.stop();
    await this.server.start();
  }

  async expectMessages(person, { channel, payloads, bytes, count, event, user }) {
    const expected = count === undefined ? (payloads ?? bytes) : range(count);
    const noted = (person.messages[channel] ??= []);
    await person.until(() => noted.length >= expected.length);
    const found = noted.splice(0);
    assert.deepEqual(
      found.map((message) => (message.binary ? hex(message.data) : message.data)),
      expected,
    );
    if (event !== undefined) assert.ok(found.every((message) => message.event === event));
    if (user !== undefined) assert.ok(found.every((message) => message.user === user));
  }

  async expectDirect(person, { messages }) {
    await person.until(() => person.directs.length >= messages.length);
    assert.deepEqual(person.directs.splice(0), messages);
  }

  async expectNothing(person, { channel }) {
    assert.deepEqual(person.messages[channel] ?? [], []);
  }

  async expectStatus(person, { status }) {
    await person.until(() => person.statuses.includes(status));
    person.statuses.splice(0, person.statuses.indexOf(status) + 1);
  }

  expectGap = (person, { channel, reason }) => person.until(() => person.gaps[channel]?.includes(reason));

  async loadOnGap(person, { channel, initial }) {
    const load = ({ reason }) =>
      new Promise((resolve, reject) => {
        person.loadEnds[channel] = { resolve, reject };
        person.note((person.loads[channel] ??= []), reason);
      });
    person.client.channel(channel).onGap(load, { initial });
  }

  async expectLoad(person, { channel, reason }) {
    await person.until(() => person.loads[channel]?.includes(reason));
    person.loads[channel] = [];
  }

  async endLoad(person, { channel, offset, fails }) {
    const { resolve, reject } = person.loadEnds[channel];
    if (fails) reject(new Error("no snapshot"));
    else resolve(offset);
  }

  expectError = (person, { code }) => person.until(() => person.errors.includes(code));

  async watch(person, { channel }) {
    const { presence } = person.client.channel(channel);
    const notes = (person.presence[channel] ??= []);
    presence.on("sync", () => person.look());
    for (const event of ["join", "update", "leave"]) presence.on(event, ({ id }) => person.note(notes, [event, id]));
    await presence.ready();
  }

  track = ({ client }, { channel, user, status }) => client.channel(channel).presence.track(user, { status });

  updatePresence({ client }, { channel, patch, status }) {
    const { presence } = client.channel(channel);
    return patch === undefined ? presence.updateStatus(status) : presence.update(patch);
  }

  untrack = ({ client }, { channel }) => client.channel(channel).presence.untrack();

  expectUsers(person, { channel, users }) {
    const { presence } = person.client.channel(channel);
    const shown = ({ id, status, joinedAt, lastSeen, connections, verified, isSelf, ...state }) => [
      id,
      status,
      state,
      connections,
    ];
    return person.until(() => isDeepStrictEqual(presence.users.map(shown), users));
  }

  async expectPresence(person, { channel, events }) {
    const noted = (person.presence[channel] ??= []);
    await person.until(() => noted.length >= events.length);
    assert.deepEqual(noted.splice(0), events);
  }

  async collection(person, { channel, collection: name, initialData, ready = true }) {
    const collection = person.client.channel(channel).collection(name, { initialData });
    const notes = (person.collections[channel + "/" + name] = { collection, changes: [], syncs: [] });
    collection.on("change", (change) => person.note(notes.changes, [change.kind, change.id, cause(change)]));
    collection.on("sync", (_, reason) => person.note(notes.syncs, reason));
    if (ready) await collection.ready();
  }

  insert = (person, { record, ...rest }) => this.mutation(person, rest, (collection) => collection.insert(record));

  update = (person, { id, patch, ifRevision, ...rest }) =>
    this.mutation(person, rest, (collection) => collection.update(id, patch, { ifRevision }));

  remove = (person, { id, ifRevision, ...rest }) =>
    this.mutation(person, rest, (collection) => collection.remove(id, { ifRevision }));

  async mutation(person, { channel, collection, later }, mutate) {
    const done = mutate(person.collections[channel + "/" + collection].collection);
    if (later) person.later.push(done);
    else await done;
  }

  async expectData(person, { channel, collection: name, data, now }) {
    const { collection } = person.collections[channel + "/" + name];
    if (!now) await person.until(() => isDeepStrictEqual(collection.data, data));
    assert.deepEqual(collection.data, data);
  }

  async expectChanges(person, { channel, collection, changes }) {
    const noted = person.collections[channel + "/" + collection].changes;
    await person.until(() => noted.length >= changes.length);
    assert.deepEqual(noted.splice(0), changes);
  }

  async expectSync(person, { channel, collection, reason }) {
    const { syncs } = person.collections[channel + "/" + collection];
    await person.until(() => syncs.includes(reason));
    syncs.splice(0, syncs.indexOf(reason) + 1);
  }

  async expectStats({ client }, { stats }) {
    const found = client.getStats();
    for (const [name, expected] of Object.entries(stats)) {
      if (typeof expected === "object") assert.ok(found[name] >= expected.min, `${name} is ${found[name]}`);
      else assert.equal(found[name], expected, name);
    }
  }
}

const cause = ({ local, rollback }) => (rollback ? "rollback" : local ? "local" : "remote");
const range = (count) => Array.from({ length: count }, (_, index) => index + 1);
const hex = (bytes) => bytes.toString("hex");
const data = ({ payload, bytes }) => (bytes === undefined ? payload : Buffer.from(bytes, "hex"));
