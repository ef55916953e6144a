/**
 * The records of a collection in the order of their ids, which is that of their UTF-8.
 *
 * Changes come on two ways: from the calls of the application at once, and from the queue of everything else. They are
 * numbered as they happened, and one that comes after a later one of the same record is left out.
 *
 * @internal
 */
export class View<T> {
  readonly #ids: string[] = [];
  readonly #records: T[] = [];
  readonly #revisions: (number | undefined)[] = [];
  #all: readonly T[] | undefined;
  /** The records that calls have changed, with the number of their change, until the queue has come to it. */
  readonly #ahead = new Map<string, number>();
  #calls: { version: number; id: string }[] = [];

  get size(): number {
    return this.#ids.length;
  }

  has(id: string): boolean {
    return this.#find(id) !== undefined;
  }

  get(id: string): T | undefined {
    const at = this.#find(id);
    return at === undefined ? undefined : this.#records[at];
  }

  revision(id: string): number | undefined {
    const at = this.#find(id);
    return at === undefined ? undefined : this.#revisions[at];
  }

  /** All records; the same array until one changes. */
  all(): readonly T[] {
    return (this.#all ??= Object.freeze(this.#records.slice()));
  }

  /** A call has made this change; the queue is behind it. */
  called(id: string, version: number): void {
    this.#ahead.set(id, version);
    this.#calls.push({ version, id });
  }

  /** Whether a change from the queue comes after a later one from a call. */
  isLate(id: string, version: number): boolean {
    let passed = 0;
    for (const call of this.#calls) {
      if (call.version >= version) break;
      passed++;
      if (this.#ahead.get(call.id) === call.version) this.#ahead.delete(call.id);
    }
    if (passed > 0) this.#calls = this.#calls.slice(passed);
    return (this.#ahead.get(id) ?? 0) > version;
  }

  /** Shows a record, and returns what was shown before. With `same` only its revision is another. */
  put(id: string, record: T, revision: number | undefined, same = false): T | undefined {
    const at = this.#place(id);
    if (this.#ids[at] !== id) {
      this.#ids.splice(at, 0, id);
      this.#records.splice(at, 0, record);
      this.#revisions.splice(at, 0, revision);
      this.#all = undefined;
      return undefined;
    }
    const old = this.#records[at];
    this.#revisions[at] = revision;
    if (!same) {
      this.#records[at] = record;
      this.#all = undefined;
    }
    return old;
  }

  remove(id: string): T | undefined {
    const at = this.#find(id);
    if (at === undefined) return undefined;
    this.#all = undefined;
    this.#ids.splice(at, 1);
    this.#revisions.splice(at, 1);
    return this.#records.splice(at, 1)[0];
  }

  #find(id: string): number | undefined {
    const at = this.#place(id);
    return this.#ids[at] === id ? at : undefined;
  }

  /** Where an id is, or would be. */
  #place(id: string): number {
    const ids = this.#ids;
    let [low, high] = [0, ids.length];
    // Snapshots, and ids that sort by time, come in order.
    if (high > 0 && compare(ids[high - 1]!, id) < 0) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compare(ids[middle]!, id) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The order of UTF-8, which is that of `<` except for characters beyond the 16 bits of JavaScript. */
function compare(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const [left, right] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** Surrogates stand for what is above all others. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
