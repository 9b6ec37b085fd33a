import { memberText } from "./json";

/** One committed version of an event, as every face of Broker tells it (PROTOCOL.md, The record). */
export interface BrokerRecord {
  readonly seq: number;
  readonly event: string;
  readonly version: number;
  readonly id: string;
  readonly timestamp: string;
  readonly author?: string;
  readonly to?: string;
}

/** A record, with its value still as the text that came: JSON.parse would change large numbers. */
export interface Received extends BrokerRecord {
  readonly key: string;
  readonly text: string;
}

export function receive(text: string): Received {
  const { seq, event, version, id, timestamp, author, to } = JSON.parse(text) as BrokerRecord;
  return {
    seq,
    event,
    version,
    id,
    timestamp,
    ...(author === undefined ? {} : { author }),
    ...(to === undefined ? {} : { to }),
    key: keyOf(event, to),
    text,
  };
}

/** Versions count within an event and its audience; a name holds no line break, so this is exact. */
export function keyOf(event: string, to?: string): string {
  return to === undefined ? event : `${event}\n${to}`;
}

/** The value's own text, byte for byte as stored. */
export function dataText(record: Received): string {
  return memberText(record.text, "data") ?? "null";
}
