import { describe } from "./connection";
import { arrange, batched, clip, el } from "./dom";
import { preview } from "./json";
import { dataText, type Received } from "./record";
import { RelayClient } from "./relay-client";
import { timeElement } from "./time";

const MESSAGES_MAX = 100;
const MESSAGE_CHARACTERS_MAX = 2_000;
const HIGHLIGHT_MS = 1_000;

/** What a panel tells the tab that it stands in. */
export interface PanelHandlers {
  /** Somebody wants the audit of a topic. */
  onAudit(topic: string): void;
  /** It speaks for another user now. */
  onUser(): void;
}

/** One client of the relay: who it is, what it gets, and what has come. */
export class ClientPanel {
  readonly #client: RelayClient;
  #messages: readonly Received[] = [];
  /** By seq: a message never changes, so its item is made once. */
  #items = new Map<number, HTMLLIElement>();

  readonly #avatar = el("span", { class: "avatar", "aria-hidden": "true" });
  readonly #user = el("input", { class: "user", maxlength: "255", spellcheck: "false" });
  readonly #status = el("p", { class: "link", role: "status" });
  readonly #chips = el("div", { class: "chips", role: "group", "aria-label": "Topics" });
  readonly #list = el("ol", { class: "messages", "aria-label": "Messages" });
  readonly #empty = el("p", { class: "blank" });
  readonly #render = batched(() => this.#renderMessages());

  constructor(
    root: HTMLElement,
    base: URL,
    who: { readonly user: string; readonly topics: readonly string[] },
    private readonly handlers: PanelHandlers,
  ) {
    this.#client = new RelayClient(base, {
      onConnection: (connection) => {
        this.#status.dataset.phase = connection.phase;
        this.#status.lastChild?.replaceWith(describe(connection));
      },
      onMessage: (record) => {
        this.#messages = [record, ...this.#messages].slice(0, MESSAGES_MAX);
        this.#render();
      },
      onTopics: (areTaken) => this.#chips.setAttribute("aria-busy", String(!areTaken)),
    });
    this.#client.topics = who.topics;
    this.#client.user = who.user;
    this.#user.value = who.user;
    this.#user.setAttribute("aria-label", "User of this client");
    this.#user.addEventListener("change", () => this.#become(this.#user.value.trim()));
    this.#avatar.textContent = initial(who.user);
    this.#status.append(el("span", { class: "dot", "aria-hidden": "true" }), "");
    const head = el("div", { class: "client-head" }, this.#avatar, this.#user, this.#status);
    const scroll = el("div", { class: "scroll" }, this.#list, this.#empty);
    root.replaceChildren(head, this.#chips, scroll);
    this.#renderMessages();
  }

  get user(): string {
    return this.#client.user;
  }

  start(): void {
    this.#client.start();
  }

  stop(): void {
    this.#client.stop();
  }

  /** Shows a chip for each topic that is known; one that is chosen is pressed. */
  offer(topics: readonly string[]): void {
    this.#chips.replaceChildren(
      ...topics.map((topic) => {
        const isChosen = String(this.#client.topics.includes(topic));
        const chip = el("button", { type: "button", "aria-pressed": isChosen }, topic);
        chip.addEventListener("click", () => this.#toggle(topic, chip));
        return chip;
      }),
    );
  }

  #toggle(topic: string, chip: HTMLButtonElement): void {
    const chosen = this.#client.topics;
    const isChosen = chosen.includes(topic);
    this.#client.topics = isChosen ? chosen.filter((each) => each !== topic) : [...chosen, topic];
    chip.setAttribute("aria-pressed", String(!isChosen));
    this.#renderMessages();
  }

  /** What came for one user is not another's to see. */
  #become(user: string): void {
    if (user === "" || user === this.user) {
      this.#user.value = this.user;
      return;
    }
    this.#client.user = user;
    this.#avatar.textContent = initial(user);
    this.#messages = [];
    this.#renderMessages();
    this.#client.start();
    this.handlers.onUser();
  }

  #renderMessages(): void {
    const before = this.#items;
    this.#items = new Map(
      this.#messages.map((record) => [record.seq, before.get(record.seq) ?? this.#item(record)]),
    );
    arrange(this.#list, [...this.#items.values()]);
    const newest = this.#messages[0];
    if (newest !== undefined && !before.has(newest.seq)) highlight(this.#items.get(newest.seq));
    this.#empty.hidden = newest !== undefined;
    this.#empty.textContent =
      this.#client.topics.length === 0
        ? "No topic chosen, so nothing arrives."
        : "Nothing yet. What is published from now on arrives here.";
  }

  #item(record: Received): HTMLLIElement {
    const topic = el("button", { type: "button", class: "quiet topic" }, record.event);
    topic.title = `The audit of ${record.event}`;
    topic.addEventListener("click", () => this.handlers.onAudit(record.event));
    const head = el("div", { class: "message-head" }, topic);
    if (record.to !== undefined) head.append(el("span", { class: "private" }, "private"));
    head.append(timeElement(record.timestamp));
    return el(
      "li",
      {},
      head,
      el("p", { class: "said" }, clip(said(record), MESSAGE_CHARACTERS_MAX)),
    );
  }
}

/** As the relay tells it: a string as its text, anything else as JSON. */
function said(record: Received): string {
  const text = dataText(record);
  return text.startsWith('"') ? (JSON.parse(text) as string) : preview(text);
}

function initial(user: string): string {
  return [...user][0]?.toUpperCase() ?? "";
}

function highlight(item: HTMLElement | undefined): void {
  if (stillness.matches) return;
  item?.animate({ backgroundColor: ["var(--fresh)", "transparent"] }, HIGHLIGHT_MS);
}

const stillness = matchMedia("(prefers-reduced-motion: reduce)");
