import type { Received } from "./record";

export interface Selection {
  /** At most as many records as asked for, newest first. */
  readonly shown: readonly Received[];
  readonly matching: number;
}

/** The newest record of everything the stream has told. */
export class Newest {
  /** Kept in the order of change: a Map lists what was set last at its end. */
  readonly #records = new Map<string, Received>();

  get size(): number {
    return this.#records.size;
  }

  get(key: string): Received | undefined {
    return this.#records.get(key);
  }

  /** False when something as new is held already: what is shown never goes backwards. */
  apply(record: Received): boolean {
    const held = this.#records.get(record.key);
    if (held !== undefined && held.seq >= record.seq) return false;
    this.#records.delete(record.key);
    this.#records.set(record.key, record);
    return true;
  }

  clear(): void {
    this.#records.clear();
  }

  select(filter: string, limit: number): Selection {
    const wanted = filter.trim().toLowerCase();
    const matching: Received[] = [];
    for (const record of this.#records.values()) {
      if (wanted === "" || record.event.toLowerCase().includes(wanted)) matching.push(record);
    }
    return { shown: matching.slice(-limit).reverse(), matching: matching.length };
  }
}
