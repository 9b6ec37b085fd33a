import { type Connection, describe } from "./connection";
import { batched, required } from "./dom";
import { wireForm } from "./form";
import { History } from "./history";
import { HistoryView } from "./history-view";
import { Inserter } from "./insert";
import { List } from "./list";
import { Newest } from "./newest";
import { keyOf } from "./record";
import { RelayTab } from "./relay";
import { Stream } from "./stream";
import { isRelayNamed, wireTabs } from "./tabs";

/** Relative to the document, so that the page works under a path prefix too. */
const base = new URL(document.baseURI);
base.hash = "";

const newest = new Newest();
const historyView = new HistoryView();
let history: History | undefined;

const renderList = batched(() => list.render());
const renderHistory = batched(() => historyView.render(history));
const list = new List(newest, open, renderList);

const stream = new Stream(new URL("events?dispatch=message", base), {
  onConnection: showConnection,
  onRecord(record) {
    if (!newest.apply(record)) return;
    renderList();
    if (history !== undefined && record.key === keyOf(history.event, history.to)) {
      history.follow(record);
    }
  },
  onReset() {
    newest.clear();
    renderList();
    if (history !== undefined) open(history);
  },
});

function showConnection(connection: Connection): void {
  const isLive = connection.phase === "live";
  // What came before this moment is drawn before it, without a highlight.
  if (isLive && !list.isCalm) list.render();
  list.isCalm = isLive;
  // What could not be read while the server was away can be now.
  if (isLive && history !== undefined && history.error !== "") open(history);
  const status = required("connection", HTMLElement);
  status.dataset.phase = connection.phase;
  required("connection-text", HTMLElement).textContent = describe(connection);
  required("reconnect", HTMLButtonElement).hidden = connection.phase !== "ended";
}

function open({ event, to }: { event: string; to?: string | undefined }): void {
  history = new History(base, event, to, renderHistory);
  const held = newest.get(keyOf(event, to));
  if (held !== undefined) history.follow(held);
  void history.load();
  list.selected = keyOf(event, to);
  if (!isRelayNamed()) window.history.replaceState(null, "", `#${encodeURIComponent(event)}`);
  renderList();
  renderHistory();
}

/** The event that the address names; one that somebody mistyped is none. */
function wantedEvent(): string {
  if (isRelayNamed()) return "";
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** On a narrow screen the history lies below the fold. */
function reveal(): void {
  if (matchMedia("(max-width: 60rem)").matches) {
    required("history", HTMLElement).scrollIntoView({ block: "start" });
  }
}

wireForm(new Inserter(new URL("insert", base)), (receipt) => {
  open(receipt);
  reveal();
});
required("rows", HTMLElement).addEventListener("click", reveal);
required("older", HTMLButtonElement).addEventListener("click", () => void history?.loadOlder());
required("reconnect", HTMLButtonElement).addEventListener("click", () => stream.start());

const relay = new RelayTab(base, (topic) => {
  open({ event: topic });
  reveal();
});
wireTabs((view) => {
  if (view === "relay") relay.start();
});

const wanted = wantedEvent();
if (wanted !== "") open({ event: wanted });
stream.start();

// A page kept for the back button holds no stream, and is no client of the relay.
addEventListener("pagehide", () => {
  stream.stop();
  relay.stop();
});
addEventListener("pageshow", (shown) => {
  if (!shown.persisted) return;
  stream.start();
  if (isRelayNamed()) relay.start();
});
