import type { BrokerRecord } from "./record";

export interface Draft {
  readonly event: string;
  /** JSON text, sent as it was typed. */
  readonly data: string;
  readonly expectedVersion?: number;
}

/** The part of the form that an error is about. */
export type Field = "data" | "event" | "expected-version" | "form";

export type Outcome =
  | { readonly kind: "refused"; readonly field: Field; readonly detail: string }
  | { readonly kind: "stored"; readonly receipt: BrokerRecord; readonly isNew: boolean }
  /** It may have been stored or not; asking again with the same id settles it. */
  | { readonly kind: "unanswered"; readonly detail: string };

/** RFC 9457, as Broker fills it. */
interface Problem {
  readonly title?: string;
  readonly detail?: string;
  readonly code?: string;
  /** Of malformed JSON, in the whole body. */
  readonly line?: number;
}

/** Sends drafts; one that got no answer keeps its id, so that trying again never stores it twice. */
export class Inserter {
  #unanswered: { readonly id: string; readonly content: string } | undefined;

  constructor(
    private readonly url: URL,
    private readonly send: typeof fetch = (input, init) => fetch(input, init),
  ) {}

  async insert(draft: Draft): Promise<Outcome> {
    const content = `${draft.event}\n${draft.data}`;
    const id = this.#unanswered?.content === content ? this.#unanswered.id : newId();
    this.#unanswered = { id, content };
    const outcome = await this.#post(bodyOf(draft, id));
    if (outcome.kind !== "unanswered") this.#unanswered = undefined;
    return outcome;
  }

  async #post(body: string): Promise<Outcome> {
    let response: Response;
    try {
      const headers = { "content-type": "application/json" };
      response = await this.send(this.url, { method: "POST", headers, body });
      if (response.ok) {
        const receipt = (await response.json()) as BrokerRecord;
        return { kind: "stored", receipt, isNew: response.status === 201 };
      }
    } catch {
      return { kind: "unanswered", detail: "The server could not be reached." };
    }
    return refusal(response.status, await problemOf(response));
  }
}

/**
 * The data goes in verbatim: re-encoding it would change what is stored. It begins a line of its
 * own, so that an error's column in the body is the column in the form.
 */
function bodyOf(draft: Draft, id: string): string {
  const head = JSON.stringify({
    event: draft.event,
    id,
    ...(draft.expectedVersion === undefined ? {} : { expected_version: draft.expectedVersion }),
  });
  return `${head.slice(0, -1)},"data":\n${draft.data}}`;
}

/** After these, as after 500 and 503, the same request may yet succeed; 507 is an answer. */
const PASSING_STATUSES = new Set([408, 429, 500, 502, 503, 504]);

/** Codes that are about one field; every other is about the whole. */
const FIELDS: Readonly<Record<string, Field>> = {
  "body-too-large": "data",
  "invalid-event": "event",
  "malformed-json": "data",
  "version-mismatch": "expected-version",
};

function refusal(status: number, problem: Problem): Outcome {
  const detail = problem.detail ?? problem.title ?? `The server answered ${status}.`;
  if (PASSING_STATUSES.has(status)) return { kind: "unanswered", detail };
  const field = FIELDS[problem.code ?? ""] ?? "form";
  return { kind: "refused", field, detail: inField(detail, problem.line) };
}

/** Counts lines from where the data begins, as the form does. */
function inField(detail: string, line: number | undefined): string {
  return line === undefined ? detail : detail.replace(/^line \d+/, `line ${line - 1}`);
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return {};
  }
}

/** A version 4 UUID. crypto.randomUUID is absent on plain HTTP from another machine. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
