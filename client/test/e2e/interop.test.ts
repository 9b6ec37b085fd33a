import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { memberText } from "../../src/json";
import { type Block, clients, type Open } from "./clients";
import { Server } from "./server";

/** Values in which a careless reader goes wrong. */
const SAMPLES: Readonly<Record<string, string>> = {
  "sample.arabic": '"مرحبا بالعالم"',
  "sample.astral": '{"𝒳":"🦀🧑🏽‍🚀"}',
  "sample.colons": '"id:7\\nevent:x\\ndata: :"',
  "sample.kilobytes": JSON.stringify("héllo 🌍 ".repeat(6_000)),
  "sample.separators": '"a\u2028b\u2029c\u0085d"',
  "sample.spaces": '"  two before, two after  "',
};

let server: Server;
let close = () => {};

beforeEach(async () => {
  // A heartbeat a second, so that each test sees some between the blocks.
  server = await Server.start({ BROKER_HEARTBEAT_SECONDS: "1" });
});

afterEach(async () => {
  close();
  await server?.remove();
});

function follow(open: Open, query: string, names: readonly string[] = []) {
  const blocks: Block[] = [];
  close = open(new URL(`events${query}`, server.url), names, (block) => blocks.push(block));
  const records = () => blocks.filter(({ type }) => !type.startsWith("broker:"));
  const marks = () => blocks.filter(({ type }) => type.startsWith("broker:"));
  return { blocks, records, marks };
}

const until = expect.poll;

/** Reads a stream's bytes until a heartbeat has gone by. */
async function heartbeat(): Promise<void> {
  const stop = new AbortController();
  const url = new URL("events?event=nothing.matches", server.url);
  const headers = { accept: "text/event-stream" };
  const response = await fetch(url, { headers, signal: stop.signal });
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += new TextDecoder().decode(chunk);
    if (/^:$/m.test(text)) break;
  }
  stop.abort();
}

describe.each(Object.entries(clients))("%s", (_name, open) => {
  test("reads every value as it is stored, the mark, and what comes live", async () => {
    for (const [event, data] of Object.entries(SAMPLES)) await server.insert(event, data);
    const { blocks, records, marks } = follow(open, "?dispatch=message");
    await until(() => marks().map(({ type }) => type)).toEqual(["broker:synced"]);
    await server.insert("sample.live", '"now"');
    await until(() => records().length).toBe(Object.keys(SAMPLES).length + 1);
    await heartbeat();
    const read = records().map(({ data }) => [JSON.parse(data).event, memberText(data, "data")]);
    expect(read).toEqual([...Object.entries(SAMPLES), ["sample.live", '"now"']]);
    expect(records().every(({ type }) => type === "message")).toBe(true);
    expect(blocks.filter(({ data, id }) => data === "" || id === "")).toEqual([]);
    expect(JSON.parse(marks()[0]?.data ?? "")).toMatchObject({
      cursor: marks()[0]?.id,
      events: Object.keys(SAMPLES).length,
    });
  });

  test("finds records under their own names", async () => {
    for (const [event, data] of Object.entries(SAMPLES)) await server.insert(event, data);
    const names = Object.keys(SAMPLES);
    const { records } = follow(open, "?event=sample.%3E", names);
    await until(() => records().map(({ type }) => type)).toEqual(names);
    expect(records().map(({ data }) => memberText(data, "data"))).toEqual(Object.values(SAMPLES));
  });

  test("comes back after a restart without loss and without a reset", async () => {
    const { records, marks } = follow(open, "?dispatch=message");
    await until(() => marks().length).toBeGreaterThan(0);
    const names = Array.from({ length: 60 }, (_, at) => `resume.${at}`);
    for (const event of names.slice(0, 20)) await server.insert(event, "1");
    await until(() => records().length).toBeGreaterThan(10);
    await server.restart();
    for (const event of names.slice(20, 40)) await server.insert(event, "2");
    await until(() => records().length).toBe(40);
    for (const event of names.slice(40)) await server.insert(event, "3");
    await until(() => records().length).toBe(60);
    expect(records().map(({ data }) => JSON.parse(data).event)).toEqual(names);
    expect(marks().map(({ type }) => type)).not.toContain("broker:reset");
  });
});
