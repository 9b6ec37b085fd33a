import { arrange, clip, el, required } from "./dom";
import { preview } from "./json";
import type { Newest } from "./newest";
import { dataText, type Received } from "./record";
import { setTime } from "./time";

const ROWS_MAX = 200;
const PREVIEW_CHARACTERS_MAX = 160;
const HIGHLIGHT_MS = 1_000;
/** In one update: of a burst only the newest stand out, and painting stays cheap. */
const HIGHLIGHTS_MAX = 8;

interface Row {
  readonly element: HTMLTableRowElement;
  readonly name: HTMLButtonElement;
  readonly version: HTMLElement;
  readonly time: HTMLTimeElement;
  readonly value: HTMLElement;
  seq: number;
}

/** The table of newest values: rows are kept by key and touched only where something changed. */
export class List {
  /** Changes stand out only then: while everything current still arrives, nothing is news. */
  isCalm = false;

  #rows = new Map<string, Row>();
  #shown: readonly Received[] = [];
  #selected: string | undefined;

  readonly #body = required("rows", HTMLTableSectionElement);
  readonly #filter = required("filter", HTMLInputElement);

  constructor(
    private readonly newest: Newest,
    private readonly onSelect: (record: Received) => void,
    onFilter: () => void,
  ) {
    this.#filter.addEventListener("input", onFilter);
    this.#body.addEventListener("keydown", (key) => this.#move(key));
    this.#body.addEventListener("focusout", onFilter);
    this.#body.addEventListener("pointerdown", (press) => {
      // A press chooses at once: by the time of the click the row may have moved on.
      if (press.pointerType !== "touch" && press.button === 0) this.#choose(press.target);
    });
    this.#body.addEventListener("click", (click) => this.#choose(click.target));
  }

  set selected(key: string | undefined) {
    this.#selected = key;
  }

  render(): void {
    const { shown, matching } = this.newest.select(this.#filter.value, ROWS_MAX);
    const isHeld = this.#body.querySelector(":focus-visible") !== null && this.newest.size > 0;
    this.#shown = isHeld ? this.#inPlace() : shown;
    const before = this.#rows;
    this.#rows = new Map(this.#shown.map((r) => [r.key, before.get(r.key) ?? makeRow(r)]));
    const changed = this.#shown.filter((record) => this.#fill(record));
    if (this.isCalm) for (const { key } of changed.slice(0, HIGHLIGHTS_MAX)) this.#highlight(key);
    const focused = document.activeElement;
    arrange(
      this.#body,
      Array.from(this.#rows.values(), (row) => row.element),
    );
    // Moving a row takes the focus from it.
    if (focused instanceof HTMLElement && this.#body.contains(focused)) {
      focused.focus({ preventScroll: true });
    }
    this.#setTabStop();
    this.#say(matching, isHeld);
  }

  /** The rows as they stand, with their newest values: who walks by keyboard keeps the place. */
  #inPlace(): Received[] {
    return this.#shown
      .map(({ key }) => this.newest.get(key))
      .filter((record) => record !== undefined);
  }

  /** True when the row showed something older. */
  #fill(record: Received): boolean {
    const row = this.#rows.get(record.key);
    if (row === undefined) return false;
    row.element.toggleAttribute("data-selected", record.key === this.#selected);
    row.name.setAttribute("aria-pressed", String(record.key === this.#selected));
    if (row.seq === record.seq) return false;
    row.seq = record.seq;
    row.version.textContent = String(record.version);
    setTime(row.time, record.timestamp);
    row.value.textContent = clip(preview(dataText(record)), PREVIEW_CHARACTERS_MAX);
    return true;
  }

  #highlight(key: string): void {
    if (stillness.matches) return;
    const colours = { backgroundColor: ["var(--fresh)", "transparent"] };
    this.#rows.get(key)?.element.animate(colours, HIGHLIGHT_MS);
  }

  #choose(target: EventTarget | null): void {
    const key = target instanceof Element ? target.closest("tr")?.dataset.key : undefined;
    const record = key === undefined ? undefined : this.newest.get(key);
    if (record !== undefined && key !== this.#selected) this.onSelect(record);
  }

  #move(key: KeyboardEvent): void {
    const step = key.key === "ArrowDown" ? 1 : key.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    key.preventDefault();
    const names = Array.from(this.#rows.values(), (row) => row.name);
    const at = names.indexOf(document.activeElement as HTMLButtonElement);
    names[at + step]?.focus();
    this.#setTabStop();
  }

  /** One stop for the Tab key, arrows inside: two hundred stops would be a wall. */
  #setTabStop(): void {
    const names = Array.from(this.#rows.values(), (row) => row.name);
    const chosen = this.#selected === undefined ? undefined : this.#rows.get(this.#selected)?.name;
    const stop = names.find((name) => name === document.activeElement) ?? chosen ?? names[0];
    for (const name of names) name.tabIndex = name === stop ? 0 : -1;
  }

  #say(matching: number, isHeld: boolean): void {
    const total = this.newest.size;
    const isFiltered = this.#filter.value.trim() !== "";
    const count = required("count", HTMLElement);
    count.textContent = `${total.toLocaleString("en")} ${total === 1 ? "event" : "events"}`;
    count.dataset.total = String(total);
    const notes = [
      isFiltered ? `${matching.toLocaleString("en")} match` : "",
      matching > ROWS_MAX ? `the ${ROWS_MAX} newest shown` : "",
      isHeld ? "order held for the keyboard" : "",
    ];
    required("count-note", HTMLElement).textContent = notes
      .filter((note) => note !== "")
      .join(", ");
    const empty = required("empty", HTMLElement);
    empty.hidden = this.#shown.length > 0;
    empty.textContent = total === 0 ? "Nothing yet. Insert the first event." : "No event matches.";
  }
}

function makeRow(record: Received): Row {
  const name = el(
    "button",
    { type: "button", class: "name", "aria-pressed": "false" },
    record.event,
  );
  const version = el("td", { class: "version" });
  const time = el("time");
  const value = el("td", { class: "value" });
  const element = el("tr", { "data-key": record.key });
  element.append(
    el("th", { scope: "row" }, name),
    version,
    el("td", { class: "time" }, time),
    value,
  );
  return { element, name, version, time, value, seq: -1 };
}

const stillness = matchMedia("(prefers-reduced-motion: reduce)");
