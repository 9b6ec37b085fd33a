import { el, required } from "./dom";
import type { Draft, Field, Inserter, Outcome } from "./insert";
import type { BrokerRecord } from "./record";

const SAFE_TO_RETRY =
  "Trying again is safe: until it is answered it carries the same id, so it cannot be stored twice.";

const form = () => required("insert", HTMLFormElement);
const eventInput = () => required("event", HTMLInputElement);
const dataInput = () => required("data", HTMLTextAreaElement);
const versionInput = () => required("expected-version", HTMLInputElement);
const button = () => required("send", HTMLButtonElement);
const outcomeElement = () => required("outcome", HTMLOutputElement);

/** Wires the insert form; `onOpen` is asked for when somebody wants to see what was stored. */
export function wireForm(inserter: Inserter, onOpen: (receipt: BrokerRecord) => void): void {
  form().addEventListener("submit", async (submit) => {
    submit.preventDefault();
    if (button().getAttribute("aria-disabled") === "true") return;
    clearErrors();
    const draft = readDraft();
    if (draft === undefined) return;
    setBusy(true);
    const outcome = await inserter.insert(draft);
    setBusy(false);
    show(outcome, onOpen);
  });
  dataInput().addEventListener("keydown", (key) => {
    if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) form().requestSubmit();
  });
  for (const field of ["event", "data", "expected-version"] as const) {
    required(field, HTMLElement).addEventListener("input", () => setError(field, ""));
  }
}

function readDraft(): Draft | undefined {
  const event = eventInput().value;
  const data = dataInput().value;
  const expected = versionInput();
  if (event === "") return fail("event", "An event needs a name, such as profile.42.");
  if (data.trim() === "")
    return fail("data", 'A value is needed: any JSON, such as {"name":"Ann"}.');
  try {
    JSON.parse(data);
  } catch (error) {
    return failWithOffer(`This is not JSON: ${(error as Error).message}.`, data);
  }
  if (!expected.validity.valid) {
    return fail("expected-version", "A whole number: 0 when the event must not exist yet.");
  }
  return expected.value === ""
    ? { event, data }
    : { event, data, expectedVersion: +expected.value };
}

function fail(field: Field, message: string): undefined {
  setError(field, message);
  if (field !== "form") required(field, HTMLElement).focus();
}

/** Plain text is a mistake or a string, and only who typed it knows. */
function failWithOffer(message: string, text: string): undefined {
  fail("data", message);
  const offer = el("button", { type: "button", class: "quiet" }, "Send it as text");
  offer.addEventListener("click", () => {
    dataInput().value = JSON.stringify(text.trim());
    form().requestSubmit();
    button().focus();
  });
  errorElement("data").append(" ", offer);
}

function show(outcome: Outcome, onOpen: (receipt: BrokerRecord) => void): void {
  switch (outcome.kind) {
    case "refused":
      fail(outcome.field, outcome.detail);
      return;
    case "unanswered":
      setError("form", `${outcome.detail} ${SAFE_TO_RETRY}`);
      button().textContent = "Try again";
      return;
    case "stored":
      outcomeElement().replaceChildren(...receiptLine(outcome.receipt, outcome.isNew, onOpen));
  }
}

function receiptLine(
  receipt: BrokerRecord,
  isNew: boolean,
  onOpen: (receipt: BrokerRecord) => void,
): (Node | string)[] {
  const open = el("button", { type: "button", class: "quiet" }, receipt.event);
  open.addEventListener("click", () => onOpen(receipt));
  const said = isNew ? "Stored " : "Was stored already: ";
  return [said, open, ` version ${receipt.version}, seq ${receipt.seq}`];
}

/** Not `disabled`: that would take the keyboard's place on the page away. */
function setBusy(isBusy: boolean): void {
  button().setAttribute("aria-disabled", String(isBusy));
  button().textContent = isBusy ? "Inserting…" : "Insert";
}

function clearErrors(): void {
  for (const field of ["event", "data", "expected-version", "form"] as const) setError(field, "");
  outcomeElement().replaceChildren();
}

function setError(field: Field, message: string): void {
  errorElement(field).textContent = message;
  if (field === "form") return;
  const control = required(field, HTMLElement);
  if (message === "") control.removeAttribute("aria-invalid");
  else control.setAttribute("aria-invalid", "true");
}

function errorElement(field: Field): HTMLElement {
  return required(`${field}-error`, HTMLElement);
}
