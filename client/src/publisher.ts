import type { BrokerRecord } from "./record";

export interface Message {
  readonly topic: string;
  /** Sent as a JSON string: the relay's clients get exactly this text. */
  readonly text: string;
  /** Absent, it is for everybody who has the topic. */
  readonly user?: string;
}

export type Published =
  | { readonly kind: "refused"; readonly detail: string }
  | { readonly kind: "stored"; readonly receipt: BrokerRecord }
  /** It may have been published or not, and there is no id to ask again with. */
  | { readonly kind: "unanswered" };

/** Publishes one message; `url` is that of /publish. */
export async function publish(
  url: URL,
  { topic, text, user }: Message,
  send: typeof fetch = (input, init) => fetch(input, init),
): Promise<Published> {
  const message = { topic, message: text, ...(user === undefined ? {} : { user_id: user }) };
  const headers = { "content-type": "application/json" };
  try {
    const response = await send(url, { method: "POST", headers, body: JSON.stringify(message) });
    const answer = (await response.json()) as BrokerRecord & { detail?: string; code?: string };
    if (response.ok) return { kind: "stored", receipt: answer };
    if (answer.code === "outcome-unknown" || answer.code === "internal") {
      return { kind: "unanswered" };
    }
    const said = answer.detail ?? `The server answered ${response.status}.`;
    return { kind: "refused", detail: said };
  } catch {
    return { kind: "unanswered" };
  }
}
