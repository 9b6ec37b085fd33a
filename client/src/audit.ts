import { type Received, receive } from "./record";

export const PAGE_VERSIONS = 50;

export interface AuditPage {
  /** Newest first. */
  readonly records: readonly Received[];
  /** Where older ones are, or undefined at the end. */
  readonly older: URL | undefined;
}

/** The first page of an event's history. */
export function historyUrl(base: URL, event: string, to?: string): URL {
  const url = new URL(`audit/${encodeURIComponent(event)}`, base);
  url.searchParams.set("order", "desc");
  url.searchParams.set("limit", String(PAGE_VERSIONS));
  if (to !== undefined) url.searchParams.set("to", to);
  return url;
}

/** One record a line, so that every value keeps the text that was stored. */
export async function fetchPage(url: URL): Promise<AuditPage> {
  const headers = { accept: "application/x-ndjson" };
  const response = await fetch(url, { headers, cache: "no-store" });
  const text = await response.text();
  if (!response.ok) throw new Error(detailOf(text) ?? `The server answered ${response.status}.`);
  const lines = text.split("\n").filter((line) => line !== "");
  return { records: lines.map(receive), older: nextPage(url, response.headers.get("link")) };
}

/** Only the link's query counts: behind a proxy that cuts a path prefix its path would be wrong. */
export function nextPage(url: URL, link: string | null): URL | undefined {
  const target = link?.match(/<([^>]*)>\s*;[^<]*\brel="?next\b/)?.[1];
  if (target === undefined) return undefined;
  const older = new URL(url);
  older.search = new URL(target, url).search;
  return older;
}

function detailOf(problem: string): string | undefined {
  try {
    return (JSON.parse(problem) as { detail?: string }).detail;
  } catch {
    return undefined;
  }
}
