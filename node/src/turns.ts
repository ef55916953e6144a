/** Calls handlers for one event after the other: also where one returns a promise, or causes the next. @internal */
export class Turns {
  #waiting: Turn[] = [];
  #busy = false;

  /** Takes a turn: `emit` calls the handlers and returns their promises; `done` is called when these are settled. */
  add(emit: () => Promise<unknown>[] | undefined, done?: () => void): void {
    this.#waiting.push({ emit, done });
    if (!this.#busy) this.#run();
  }

  #run(): void {
    this.#busy = true;
    let next = 0;
    while (next < this.#waiting.length) {
      const { emit, done } = this.#waiting[next++]!;
      const promises = emit();
      if (promises !== undefined) {
        this.#waiting = this.#waiting.slice(next);
        void Promise.all(promises).then(() => {
          done?.();
          this.#run();
        });
        return;
      }
      done?.();
    }
    this.#waiting = [];
    this.#busy = false;
  }
}

interface Turn {
  emit: () => Promise<unknown>[] | undefined;
  done: (() => void) | undefined;
}
