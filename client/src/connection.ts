/**
 * What the page knows about its stream, as a state and the signals that move it. Pure: the clock,
 * the network and chance are in stream.ts.
 */
export type Connection =
  | { readonly phase: "connecting"; readonly failures: number }
  | { readonly phase: "live" }
  | { readonly phase: "reconnecting"; readonly failures: number }
  | { readonly phase: "ended"; readonly status: number };

export type Signal =
  /** The browser lost the stream or could not open it. */
  | { readonly type: "failed" }
  /** The server said not to come back, with this status. */
  | { readonly type: "refused"; readonly status: number }
  /** Somebody asked to begin (again). */
  | { readonly type: "started" }
  /** The mark broker:synced: everything current has been shown. */
  | { readonly type: "synced" };

/** How a socket of the relay is closed when another one takes its registration over. */
export const TAKEN_OVER = 4001;

export const INITIAL: Connection = { phase: "connecting", failures: 0 };

export function next(connection: Connection, signal: Signal): Connection {
  switch (signal.type) {
    case "started":
      return INITIAL;
    case "refused":
      return { phase: "ended", status: signal.status };
    case "synced":
      return connection.phase === "ended" ? connection : { phase: "live" };
    case "failed":
      switch (connection.phase) {
        case "connecting":
        case "reconnecting":
          return { ...connection, failures: connection.failures + 1 };
        case "live":
          return { phase: "reconnecting", failures: 1 };
        case "ended":
          return connection;
      }
  }
}

/** A client that sees one of these must not come back by itself (PROTOCOL.md, GET /events). */
const FINAL_STATUSES = new Set([204, 400, 401, 403]);

export function isFinal(status: number): boolean {
  return FINAL_STATUSES.has(status);
}

const BACKOFF_MS_MIN = 250;
const BACKOFF_MS_MAX = 30_000;

/** Full jitter, so that pages that lost one server do not return to it all at once. */
export function backoffMs(failures: number, random: number): number {
  const ceiling = Math.min(BACKOFF_MS_MAX, 1_000 * 2 ** Math.max(0, failures - 1));
  return BACKOFF_MS_MIN + Math.floor(random * (ceiling - BACKOFF_MS_MIN));
}

/** The state in words: colour alone tells nothing to some. */
export function describe(connection: Connection): string {
  switch (connection.phase) {
    case "connecting":
      return connection.failures === 0 ? "Connecting" : "Connecting, no answer yet";
    case "live":
      return "Live";
    case "reconnecting":
      return "Reconnecting";
    case "ended":
      return connection.status === TAKEN_OVER
        ? "Ended, another connection took over"
        : `Ended, the server answered ${connection.status}`;
  }
}
