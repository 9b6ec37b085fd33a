import { backoffMs, type Connection, INITIAL, next, type Signal, TAKEN_OVER } from "./connection";
import { type Received, receive } from "./record";

export interface RelayHandlers {
  onConnection(connection: Connection): void;
  onMessage(record: Received): void;
  /** Whether the server has taken in the topics that were last chosen. */
  onTopics(areTaken: boolean): void;
}

/** What a relay client needs of the browser; tests bring their own. */
export interface RelayWorld {
  fetch(url: URL, init: RequestInit): Promise<Response>;
  open(url: URL): WebSocket;
  random(): number;
  later(ms: number, run: () => void): () => void;
}

/**
 * A client of the relay: it registers as a user, connects, and comes back. While it was away its
 * registration waits for a minute or so; when that is gone it registers anew.
 */
export class RelayClient {
  #connection: Connection = INITIAL;
  /** The last segment of the registration's url; empty while there is none. */
  #id = "";
  #socket: WebSocket | undefined;
  #cancelRetry = () => {};
  /** Changes of topics that the server has not confirmed yet. */
  #unconfirmed = 0;
  /** Counts starts, so that what an earlier one still waits for is let go. */
  #turn = 0;

  constructor(
    private readonly base: URL,
    private readonly handlers: RelayHandlers,
    private readonly world: RelayWorld = BROWSER,
  ) {}

  user = "";
  #topics: readonly string[] = [];

  get topics(): readonly string[] {
    return this.#topics;
  }

  /** From now on it gets these; the server keeps them for who comes back. */
  set topics(topics: readonly string[]) {
    this.#topics = topics;
    if (this.#socket?.readyState === OPEN) this.#sendTopics(this.#socket);
  }

  start(): void {
    this.stop();
    this.#signal({ type: "started" });
    void this.#register(this.#turn);
  }

  /** Ends the connection and has the registration forgotten. */
  stop(): void {
    this.#turn += 1;
    this.#cancelRetry();
    this.#socket?.close();
    this.#socket = undefined;
    if (this.#id === "") return;
    // Whatever comes of it: what is not deleted expires.
    const gone = this.world.fetch(new URL(`register/${this.#id}`, this.base), DELETE);
    gone.catch(() => {});
    this.#id = "";
  }

  async #register(turn: number): Promise<void> {
    const body = JSON.stringify({ user_id: this.user, topics: this.topics });
    const init = { method: "POST", headers: { "content-type": "application/json" }, body };
    let response: Response | undefined;
    let id: string | undefined;
    try {
      response = await this.world.fetch(new URL("register", this.base), init);
      if (response.ok) id = idOf((await response.json()) as { url: string });
    } catch {
      // As good as no answer.
    }
    if (turn !== this.#turn) return;
    if (id !== undefined) {
      this.#id = id;
      this.#connect(turn);
    } else if (response !== undefined && isRefusal(response.status)) {
      this.#signal({ type: "refused", status: response.status });
    } else {
      this.#retry(() => void this.#register(turn));
    }
  }

  #connect(turn: number): void {
    // Below this page's own address: a proxy may have given the server another name.
    const url = new URL(`ws/${this.#id}?format=record`, this.base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = this.world.open(url);
    let wasOpen = false;
    socket.addEventListener("open", () => {
      if (turn !== this.#turn) return;
      wasOpen = true;
      this.#unconfirmed = 0;
      this.#sendTopics(socket);
      this.#signal({ type: "synced" });
    });
    socket.addEventListener("message", ({ data }: MessageEvent<string>) => {
      if (turn === this.#turn) this.#take(data);
    });
    socket.addEventListener("close", ({ code }: CloseEvent) => {
      if (turn !== this.#turn) return;
      this.#socket = undefined;
      // Coming back would take it over in turn, for ever.
      if (code === TAKEN_OVER) return this.#signal({ type: "refused", status: code });
      // A socket hides why it was not opened: most likely the registration has expired.
      this.#retry(() => (wasOpen ? this.#connect(turn) : void this.#register(turn)));
    });
    this.#socket = socket;
  }

  /** The answer to a ping says that what was sent before it has taken effect. */
  #sendTopics(socket: WebSocket): void {
    socket.send(JSON.stringify({ topics: this.topics }));
    socket.send("ping");
    this.#unconfirmed += 1;
    this.handlers.onTopics(false);
  }

  #take(text: string): void {
    if (text === "pong") {
      this.#unconfirmed -= 1;
      if (this.#unconfirmed === 0) this.handlers.onTopics(true);
    } else if (text.startsWith('{"seq":')) this.handlers.onMessage(receive(text));
    // It would be a fault of this page.
    else console.error("not a record:", text);
  }

  #retry(again: () => void): void {
    this.#signal({ type: "failed" });
    const failures = "failures" in this.#connection ? this.#connection.failures : 1;
    this.#cancelRetry = this.world.later(backoffMs(failures, this.world.random()), again);
  }

  #signal(signal: Signal): void {
    this.#connection = next(this.#connection, signal);
    this.handlers.onConnection(this.#connection);
  }
}

const DELETE: RequestInit = { method: "DELETE", keepalive: true };

/** WebSocket.OPEN, which tests without a browser lack. */
const OPEN = 1;

/** The server will say the same again, until something else is asked. */
function isRefusal(status: number): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}

function idOf({ url }: { url: string }): string {
  return url.slice(url.lastIndexOf("/") + 1);
}

const BROWSER: RelayWorld = {
  fetch: (url, init) => fetch(url, init),
  open: (url) => new WebSocket(url),
  random: Math.random,
  later: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
