/** Counts what a receiver got, from the numbers that the senders wrote into their messages. */
export class Tally {
  #seen = new Map();
  #last = new Map();
  received = {};
  duplicated = 0;
  outOfOrder = 0;
  latencies = [];

  /** One message arrived; `latency` in milliseconds since it was sent. */
  note(sender, channel, number, latency) {
    const key = `${sender} ${channel}`;
    if (!this.#seen.has(key)) this.#seen.set(key, new Set());
    const seen = this.#seen.get(key);
    if (seen.has(number)) {
      this.duplicated += 1;
      return;
    }
    seen.add(number);
    this.received[sender] = (this.received[sender] ?? 0) + 1;
    const last = this.#last.get(key) ?? 0;
    if (number < last) this.outOfOrder += 1;
    this.#last.set(key, Math.max(number, last));
    this.latencies.push(latency);
  }

  get total() {
    return Object.values(this.received).reduce((sum, count) => sum + count, 0);
  }
}
