import { type Change, diff } from "./diff";
import { arrange, clip, el, required } from "./dom";
import type { Entry, History } from "./history";
import { pretty } from "./json";
import { dataText } from "./record";
import { seriesOf, sparkline } from "./sparkline";
import { timeElement } from "./time";

const CHANGES_SHOWN_MAX = 40;
const VALUE_CHARACTERS_MAX = 240;
const SPARKLINE_VERSIONS_MAX = 400;

/** The history of the chosen event; `history` is undefined while none is chosen. */
export class HistoryView {
  /** By seq, of the history now shown: a version never changes, so its item is made once. */
  #items = new Map<number, HTMLLIElement>();
  #shown: History | undefined;

  render(history: History | undefined): void {
    if (history !== this.#shown) this.#items = new Map();
    this.#shown = history;
    const entries = history?.entries ?? [];
    required("history-hint", HTMLElement).hidden = history !== undefined;
    required("history-body", HTMLElement).hidden = history === undefined;
    required("history-name", HTMLElement).textContent = history?.event ?? "";
    required("history-status", HTMLElement).textContent = statusOf(history, entries.length);
    required("older", HTMLButtonElement).hidden = history?.hasOlder !== true;
    renderNewest(entries);
    arrange(
      required("versions", HTMLOListElement),
      entries.map((entry) => this.#item(entry)),
    );
  }

  #item(entry: Entry): HTMLLIElement {
    const { seq } = entry.record;
    const item = this.#items.get(seq) ?? versionItem(entry);
    this.#items.set(seq, item);
    return item;
  }
}

function statusOf(history: History | undefined, count: number): string {
  if (history === undefined) return "";
  if (history.error !== "") return history.error;
  return history.isLoading && count === 0 ? "Loading…" : "";
}

function renderNewest(entries: readonly Entry[]): void {
  const newest = entries[0];
  const value = newest === undefined ? "" : pretty(dataText(newest.record));
  const now = required("history-value", HTMLElement);
  if (now.textContent !== value) now.textContent = value;
  const values = entries.slice(0, SPARKLINE_VERSIONS_MAX).map(({ record }) => dataText(record));
  const series = seriesOf(values.reverse());
  const figure = required("history-chart", HTMLElement);
  figure.hidden = series === undefined;
  if (series === undefined) return;
  const last = series.points.at(-1);
  const caption = el(
    "figcaption",
    {},
    el("span", {}, series.name || "value"),
    el("b", {}, `${last}`),
  );
  figure.replaceChildren(caption, sparkline(series));
}

function versionItem({ record, before }: Entry): HTMLLIElement {
  const author = record.author === undefined ? [] : [el("span", {}, `by ${record.author}`)];
  const head = el("h3", {}, `Version ${record.version}`);
  const line = el("div", { class: "version-head" }, head, timeElement(record.timestamp), ...author);
  return el(
    "li",
    {},
    line,
    changeList(record.version, dataText(record), before && dataText(before)),
  );
}

function changeList(version: number, after: string, before: string | undefined): HTMLElement {
  if (before === undefined) {
    const said = version === 1 ? "First version" : "The first version that is kept";
    return el("p", { class: "changes" }, said, valueElement(after));
  }
  const changes = diff(before, after);
  if (changes.length === 0) return el("p", { class: "changes" }, "The same value again");
  const lines = changes.slice(0, CHANGES_SHOWN_MAX).map(changeLine);
  const rest = changes.length - lines.length;
  if (rest > 0) lines.push(el("li", {}, `and ${rest} more`));
  return el("ul", { class: "changes" }, ...lines);
}

function changeLine(change: Change): HTMLLIElement {
  const path = el("span", { class: "path" }, change.path);
  const kind = el("span", { class: "kind" }, change.kind);
  const line = el("li", { class: change.kind }, kind, " ", path, " ");
  if ("before" in change) line.append(valueElement(change.before, "del"));
  if (change.kind === "changed") line.append(" → ");
  if ("after" in change) line.append(valueElement(change.after, "ins"));
  return line;
}

function valueElement(text: string, tag: "code" | "del" | "ins" = "code"): HTMLElement {
  return el(tag, { class: "value" }, clip(text, VALUE_CHARACTERS_MAX));
}
