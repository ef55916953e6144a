const LONGEST_TIMER = 2 ** 31 - 1;

/** Keeps the process alive for an open client, and the client from being collected, whoever else forgot it. @internal */
export class KeepAlive {
  readonly #owner: object;
  #timer: NodeJS.Timeout | undefined;
  #referenced = true;

  constructor(owner: object) {
    this.#owner = owner;
  }

  hold(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval((_owner: object) => {}, LONGEST_TIMER, this.#owner);
    if (!this.#referenced) this.#timer.unref();
  }

  release(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  ref(): void {
    this.#referenced = true;
    this.#timer?.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#timer?.unref();
  }
}
