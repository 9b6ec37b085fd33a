const BAR_COLUMNS = 28;
const REDRAW_MS = 100;
const LINE_MS = 1_000;

/** A bar that redraws itself on a terminal; elsewhere, such as a CI log, a line every second. */
export class Progress {
  #done = 0;
  #started = performance.now();
  #lastShown = 0;

  /**
   * @param {number} total
   * @param {NodeJS.WriteStream} out
   */
  constructor(total, out) {
    this.total = total;
    this.out = out;
  }

  /** @param {string} event */
  step(event) {
    this.#done += 1;
    const now = performance.now();
    if (now - this.#lastShown < (this.out.isTTY ? REDRAW_MS : LINE_MS)) return;
    this.#lastShown = now;
    this.#show(event);
  }

  end() {
    this.#show("");
    if (this.out.isTTY) this.out.write("\n");
  }

  /** @param {string} event */
  #show(event) {
    const share = this.#done / this.total;
    const rate = this.#done / ((performance.now() - this.#started) / 1_000);
    const count = `${this.#done}/${this.total} · ${Math.round(rate)}/s`;
    if (!this.out.isTTY) {
      this.out.write(`${Math.floor(share * 100)} % · ${count}\n`);
      return;
    }
    const filled = Math.round(share * BAR_COLUMNS);
    const bar = "█".repeat(filled) + "░".repeat(BAR_COLUMNS - filled);
    const line = `${bar} ${count} · ${event}`.slice(0, this.out.columns - 1);
    this.out.write(`\r\x1b[K${line}`);
  }
}
