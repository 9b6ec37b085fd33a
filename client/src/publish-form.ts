import { el, required } from "./dom";
import { type Published, publish } from "./publisher";
import type { BrokerRecord } from "./record";

const EVERYBODY = "";

const form = () => required("publish", HTMLFormElement);
const topicInput = () => required("topic", HTMLInputElement);
const messageInput = () => required("message", HTMLInputElement);
const button = () => required("publish-send", HTMLButtonElement);
const errorElement = () => required("publish-error", HTMLElement);
const publishedElement = () => required("published", HTMLOutputElement);

/** What the form tells the tab that it stands in. */
export interface PublishHandlers {
  onPublished(receipt: BrokerRecord): void;
  /** Somebody wants the audit of a topic. */
  onAudit(topic: string): void;
}

/** Wires the form that publishes to the relay. */
export function wirePublishForm(url: URL, handlers: PublishHandlers): void {
  form().addEventListener("submit", async (submit) => {
    submit.preventDefault();
    if (button().getAttribute("aria-disabled") === "true") return;
    errorElement().textContent = "";
    publishedElement().replaceChildren();
    const topic = topicInput().value.trim();
    if (topic === "") {
      errorElement().textContent = "A message needs a topic, such as cats.";
      topicInput().focus();
      return;
    }
    setBusy(true);
    const user = chosenUser();
    const message = { topic, text: messageInput().value };
    const outcome = await publish(url, user === EVERYBODY ? message : { ...message, user });
    setBusy(false);
    show(outcome, handlers);
  });
}

/** Whom a message can go to: everybody, or one of these. */
export function offerUsers(users: readonly string[]): void {
  const chosen = chosenUser();
  const isThere = users.includes(chosen);
  const choices = [EVERYBODY, ...new Set(users)].map((user) => {
    const input = el("input", { type: "radio", name: "audience", value: user });
    input.checked = isThere ? user === chosen : user === EVERYBODY;
    const name = user === EVERYBODY ? "Everybody" : user;
    return el("label", {}, input, el("span", {}, name));
  });
  required("audience", HTMLElement).replaceChildren(...choices);
}

/** The topics that are known: one press fills the form, or opens the audit. */
export function offerTopics(topics: readonly string[], onAudit: (topic: string) => void): void {
  const fill = (topic: string) => {
    const chip = el("button", { type: "button" }, topic);
    chip.addEventListener("click", () => {
      topicInput().value = topic;
      messageInput().focus();
    });
    return chip;
  };
  const audit = (topic: string) => {
    const link = el("button", { type: "button", class: "quiet" }, topic);
    link.addEventListener("click", () => onAudit(topic));
    return el("li", {}, link);
  };
  required("topic-choices", HTMLElement).replaceChildren(...topics.map(fill));
  required("topic-audits", HTMLElement).replaceChildren(...topics.map(audit));
}

function chosenUser(): string {
  const chosen = new FormData(form()).get("audience");
  return typeof chosen === "string" ? chosen : EVERYBODY;
}

function show(outcome: Published, handlers: PublishHandlers): void {
  switch (outcome.kind) {
    case "refused":
      errorElement().textContent = outcome.detail;
      return;
    case "unanswered":
      errorElement().textContent =
        "No answer came: it may have been published or not. The audit of the topic tells.";
      return;
    case "stored": {
      const { event, to, version, seq } = outcome.receipt;
      const open = el("button", { type: "button", class: "quiet" }, event);
      open.addEventListener("click", () => handlers.onAudit(event));
      const only = to === undefined ? "" : ` for ${to} only`;
      publishedElement().replaceChildren(
        "Published ",
        open,
        `${only}, version ${version}, seq ${seq}`,
      );
      messageInput().value = "";
      messageInput().focus();
      handlers.onPublished(outcome.receipt);
    }
  }
}

/** Not `disabled`: that would take the keyboard's place on the page away. */
function setBusy(isBusy: boolean): void {
  button().setAttribute("aria-disabled", String(isBusy));
  button().textContent = isBusy ? "Publishing…" : "Publish";
}
