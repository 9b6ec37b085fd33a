import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { EventSourcePolyfill } from "event-source-polyfill";
import { EventSource } from "eventsource";

/** What a client handed to the page. `type` is "message" for a block without a name. */
export interface Block {
  readonly type: string;
  readonly data: string;
  readonly id: string;
}

/** Opens a stream as this client's users do, and comes back after an end; returns its close. */
export type Open = (url: URL, names: readonly string[], take: (block: Block) => void) => () => void;

/** What both EventSource packages share. */
interface Listening {
  addEventListener(type: string, run: (event: MessageEvent) => void): void;
  close(): void;
}

function listen(source: Listening, names: readonly string[], take: (block: Block) => void) {
  for (const type of new Set(["message", "broker:synced", "broker:reset", ...names])) {
    source.addEventListener(type, (event) =>
      take({ type, data: event.data, id: event.lastEventId }),
    );
  }
  return () => source.close();
}

const eventsource: Open = (url, names, take) =>
  listen(new EventSource(url) as unknown as Listening, names, take);

const polyfill: Open = (url, names, take) => listen(new EventSourcePolyfill(url.href), names, take);

/** Asks for a document even where it needs none: made for browsers, it runs anywhere with fetch. */
const fetchEventSource: Open = (url, _names, take) => {
  const stop = new AbortController();
  Object.assign(globalThis, { window: globalThis, document: new EventTarget() });
  void import("@microsoft/fetch-event-source").then((client) =>
    client.fetchEventSource(url.href, {
      fetch,
      signal: stop.signal,
      openWhenHidden: true,
      onmessage: ({ event, data, id }) => take({ type: event || "message", data, id }),
      // Its way to say: an end is not the end.
      onclose: () => {
        throw new Error("ended");
      },
    }),
  );
  return () => stop.abort();
};

const httpxSse: Open = (url, _names, take) => {
  const script = fileURLToPath(new URL("httpx_sse_client.py", import.meta.url));
  const python = process.env.BROKER_TEST_PYTHON ?? "python3";
  const child = spawn(python, [script, url.href], { stdio: ["ignore", "pipe", "inherit"] });
  createInterface(child.stdout).on("line", (line) => take(JSON.parse(line)));
  return () => void child.kill("SIGTERM");
};

export const clients: Readonly<Record<string, Open>> = {
  "npm eventsource": eventsource,
  "@microsoft/fetch-event-source": fetchEventSource,
  "npm event-source-polyfill": polyfill,
  "PyPI httpx-sse": httpxSse,
};
