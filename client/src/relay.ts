import { ClientPanel } from "./client-panel";
import { required } from "./dom";
import { offerTopics, offerUsers, wirePublishForm } from "./publish-form";

const TOPICS_FIRST = ["cats", "dogs", "birds"];

const CLIENTS = [
  { element: "client-1", user: "ann", topics: ["cats", "dogs"] },
  { element: "client-2", user: "ben", topics: ["dogs", "birds"] },
];

/** The relay's tab: two clients side by side, and a form that publishes to all or to one user. */
export class RelayTab {
  readonly #panels: readonly ClientPanel[];
  #topics: readonly string[] = TOPICS_FIRST;
  #isStarted = false;

  constructor(
    base: URL,
    private readonly onAudit: (topic: string) => void,
  ) {
    const handlers = { onAudit, onUser: () => this.#offerUsers() };
    this.#panels = CLIENTS.map(
      ({ element, ...who }) => new ClientPanel(required(element, HTMLElement), base, who, handlers),
    );
    wirePublishForm(new URL("publish", base), {
      onAudit,
      onPublished: ({ event }) => this.#learn(event),
    });
    this.#offerTopics();
    this.#offerUsers();
  }

  /** Registers the clients, when they are not yet. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    for (const panel of this.#panels) panel.start();
  }

  stop(): void {
    this.#isStarted = false;
    for (const panel of this.#panels) panel.stop();
  }

  #learn(topic: string): void {
    if (this.#topics.includes(topic)) return;
    this.#topics = [...this.#topics, topic];
    this.#offerTopics();
  }

  #offerTopics(): void {
    offerTopics(this.#topics, this.onAudit);
    for (const panel of this.#panels) panel.offer(this.#topics);
  }

  #offerUsers(): void {
    offerUsers(this.#panels.map((panel) => panel.user));
  }
}
