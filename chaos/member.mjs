import { openSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

const AT_A_TIME = 100;
const CLAIMS = 60;
const RECORDS = 300;

/** Changes the records that all services share, and is present among them. Writes down what it asks for and is told. */
export class Member {
  #job;
  #file;
  #records;
  #presence;
  #number = 0;
  #open = 0;
  #isEditing = false;
  #waiting = new Set();
  #revision = 0;
  #hasSnapshot = false;

  constructor(job, client) {
    const channel = client.channel(job.channel);
    this.#job = job;
    this.#file = openSync(job.journal, "w");
    this.#records = channel.collection("records");
    this.#presence = channel.presence;
    this.#records.on("change", (change) => this.#onChange(change));
    this.#records.on("sync", () => this.#onSync());
    this.#records.on("diverged", (offset) => this.#write(`v ${offset}`));
    this.#presence.on("sync", () => this.#changed());
  }

  async ready() {
    await this.#records.ready();
    await this.#presence.ready();
    await this.#presence.track({ id: this.#job.member, life: this.#job.life, ended: false });
  }

  /** Changes records until `quiet()`. */
  async edit() {
    this.#isEditing = true;
    for (;;) {
      await delay(this.#job.pause);
      if (!this.#isEditing) return;
      if (this.#open < AT_A_TIME) this.#editOne();
    }
  }

  /** Waits until everything that was asked for has ended. */
  async quiet() {
    this.#isEditing = false;
    await this.#until(() => this.#open === 0);
  }

  /** Puts a mark behind what it has done, and waits until those of all are there, and all members as they should be. */
  async complete() {
    this.#change("i", `end-${this.#job.member}`);
    await this.#until(() => this.#open === 0);
    await this.#presence.update({ ended: true });
    await this.#until(() => this.#isComplete());
  }

  /** Writes down the records and the members. */
  show() {
    for (const record of this.#records.data) {
      this.#write(`r ${record.id} ${this.#records.revision(record.id) ?? "-"} ${JSON.stringify(record)}`);
    }
    for (const { id, connections, life, ended } of this.#presence.users) {
      this.#write(`p ${id} ${connections} ${JSON.stringify({ life, ended })}`);
    }
  }

  #editOne() {
    const ids = this.#records.data.map(({ id }) => id);
    const claims = ids.filter((id) => id.startsWith("claim-"));
    const others = ids.filter((id) => !id.startsWith("claim-") && !id.startsWith("end-"));
    const at = Math.random();
    if (at < 0.05) {
      // Others want the same.
      this.#change("i", `claim-${String(claims.length % CLAIMS).padStart(2, "0")}`);
    } else if (others.length === 0 || (at < 0.3 && ids.length < RECORDS)) {
      this.#change("i", `${this.#job.life}-${this.#number + 1}`);
    } else if (at < 0.4) {
      this.#change("x", oneOf(others), Math.random() < 0.5);
    } else {
      this.#change("u", oneOf(claims.length > 0 && Math.random() < 0.4 ? claims : others), Math.random() < 0.3);
    }
    if (this.#number % 100 === 0) {
      const status = this.#number % 200 === 0 ? "online" : "away";
      this.#presence.updateStatus(status).catch((error) => this.#write(`t ${error.code ?? error.name}`));
    }
  }

  #change(kind, id, isSure = false) {
    this.#number += 1;
    const number = this.#number;
    const mark = `${this.#job.life} ${number}`;
    const ifRevision = isSure ? this.#records.revision(id) : undefined;
    this.#write(`${kind} ${number} ${id}${kind === "i" ? "" : ` ${ifRevision ?? "-"}`}`);
    this.#open += 1;
    const options = { ifRevision };
    const done =
      kind === "i"
        ? this.#records.insert({ id, mark, title: `grüße ${number}` })
        : kind === "u"
          ? this.#records.update(id, { mark, [this.#job.life]: number }, options)
          : this.#records.remove(id, options);
    void done
      .then(
        () => this.#write(`k ${number}`),
        (error) => this.#write(`f ${number} ${error.code ?? error.name} ${error.revision ?? "-"}`),
      )
      .then(() => {
        this.#open -= 1;
        this.#changed();
      });
  }

  #onChange({ local, revision }) {
    if (!local && revision !== undefined) {
      // Changes come in their order, what a snapshot has changed in that of the ids.
      this.#hasSnapshot ||= revision < this.#revision;
      this.#revision = revision;
    }
    this.#changed();
  }

  #onSync() {
    if (this.#hasSnapshot) this.#write("s");
    this.#hasSnapshot = false;
  }

  #isComplete() {
    const { members } = this.#job;
    const users = this.#presence.users;
    const isThere = (id) => users.some((user) => user.id === id && user.connections === 1 && user.ended);
    return users.length === members.length && members.every((id) => isThere(id) && this.#records.has(`end-${id}`));
  }

  async #until(holds) {
    while (!holds()) await new Promise((resolve) => this.#waiting.add(resolve));
  }

  #changed() {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  #write(line) {
    writeSync(this.#file, `${line}\n`);
  }
}

function oneOf(ids) {
  return ids[Math.floor(Math.random() * ids.length)];
}
