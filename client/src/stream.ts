import { backoffMs, type Connection, INITIAL, isFinal, next, type Signal } from "./connection";
import { type Received, receive } from "./record";

export interface StreamHandlers {
  onConnection(connection: Connection): void;
  onRecord(record: Received): void;
  /** Everything held is void; everything current follows. */
  onReset(): void;
}

/** What the stream needs of the browser; tests bring their own. */
export interface StreamWorld {
  open(url: string): EventSource;
  /** The status that a stream request to this URL gets, or undefined without an answer. */
  probe(url: string): Promise<number | undefined>;
  random(): number;
  later(ms: number, run: () => void): () => void;
}

/** One EventSource for every name on the page, and a new one when the browser gives it up. */
export class Stream {
  #connection: Connection = INITIAL;
  #cursor = "";
  #source: EventSource | undefined;
  #cancelRetry = () => {};

  constructor(
    private readonly url: URL,
    private readonly handlers: StreamHandlers,
    private readonly world: StreamWorld = BROWSER,
  ) {}

  start(): void {
    this.stop();
    this.#signal({ type: "started" });
    this.#open();
  }

  stop(): void {
    this.#cancelRetry();
    this.#source?.close();
    this.#source = undefined;
  }

  #open(): void {
    const source = this.world.open(this.#resumeUrl());
    const listen = (type: string, run: (event: MessageEvent<string>) => void) =>
      source.addEventListener(type, (event) => {
        this.#cursor = (event as MessageEvent<string>).lastEventId;
        run(event as MessageEvent<string>);
      });
    listen("message", (event) => this.handlers.onRecord(receive(event.data)));
    listen("broker:reset", () => this.handlers.onReset());
    listen("broker:synced", () => this.#signal({ type: "synced" }));
    source.addEventListener("error", () => {
      this.#signal({ type: "failed" });
      if (source.readyState === CLOSED) this.#retry();
    });
    this.#source = source;
  }

  /** The browser resends Last-Event-ID only by itself; a new EventSource says it in the query. */
  #resumeUrl(): string {
    const url = new URL(this.url);
    if (this.#cursor !== "") url.searchParams.set("last_event_id", this.#cursor);
    return url.href;
  }

  #retry(): void {
    const failures = "failures" in this.#connection ? this.#connection.failures : 1;
    const source = this.#source;
    this.#cancelRetry = this.world.later(backoffMs(failures, this.world.random()), async () => {
      const status = await this.world.probe(this.#resumeUrl());
      if (this.#source !== source) return;
      if (status !== undefined && isFinal(status)) this.#signal({ type: "refused", status });
      else this.#open();
    });
  }

  #signal(signal: Signal): void {
    this.#connection = next(this.#connection, signal);
    this.handlers.onConnection(this.#connection);
  }
}

/** EventSource.CLOSED, which tests without a browser lack. */
const CLOSED = 2;

const BROWSER: StreamWorld = {
  open: (url) => new EventSource(url),
  random: Math.random,
  later: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  // EventSource hides the status it failed on, and only the status says whether to come back.
  probe: async (url) => {
    const stop = new AbortController();
    try {
      const headers = { accept: "text/event-stream" };
      return (await fetch(url, { headers, cache: "no-store", signal: stop.signal })).status;
    } catch {
      return undefined;
    } finally {
      stop.abort();
    }
  },
};
