import { createServer, type Server as Http } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { memberText } from "../../src/json";
import { Server } from "./server";
import { type Client, type Socket, socketClients, websockets } from "./sockets";

const until = expect.poll;

let server: Server;

beforeEach(async () => {
  // A heartbeat a second, so that each test answers some pings.
  server = await Server.start({ BROKER_HEARTBEAT_SECONDS: "1", BROKER_STALL_TIMEOUT_SECONDS: "2" });
});

afterEach(async () => {
  await server?.remove();
});

function at(path: string): URL {
  const url = new URL(path, server.url);
  url.protocol = "ws:";
  return url;
}

/** `a1 b2 synced`: what came, in words. */
function inWords({ messages }: Socket): string {
  const word = (text: string) => {
    const message = JSON.parse(text);
    if (message.record === undefined) return Object.keys(message)[0];
    return `${message.record.event}${message.record.version}`;
  };
  return messages.map(word).join(" ");
}

function lastCursor({ messages }: Socket): string {
  return JSON.parse(messages.at(-1) ?? "").cursor;
}

describe.each(Object.entries(socketClients))("%s", (_name, start) => {
  let client: Client;

  beforeAll(async () => {
    client = await start();
  });

  afterAll(() => client?.stop());

  const open = (path: string) => client.open(at(path), server.url);

  test("reads every value as it is stored, the mark, and what comes live", async () => {
    const samples = {
      "sample.astral": '{"𝒳":"🦀🧑🏽‍🚀"}',
      "sample.kilobytes": JSON.stringify("héllo 🌍 ".repeat(20_000)),
      "sample.number": "0.1000000000000000055",
    };
    for (const [event, data] of Object.entries(samples)) await server.insert(event, data);
    const socket = await open("ws?event=sample.*");
    await until(() => socket.messages.length).toBe(4);
    const values = socket.messages.slice(0, 3).map((text) => {
      const record = memberText(text, "record") ?? "";
      return [JSON.parse(record).event, memberText(record, "data")];
    });
    expect(values).toEqual(Object.entries(samples));
    expect(JSON.parse(socket.messages[3] ?? "").synced.events).toBe(3);
    await server.insert("sample.live", '"now"');
    await until(() => JSON.parse(socket.messages[4] ?? "{}").record?.data).toBe("now");
  });

  test("gets receipts, problems and other topics over the same socket", async () => {
    await server.insert("b", "1");
    const socket = await open("ws?event=a");
    await until(() => inWords(socket)).toBe("synced");
    socket.send('{"insert":{"event":"b","data":2},"ref":"one"}');
    socket.send('{"insert":{"event":"*","data":2},"ref":"two"}');
    await until(() => inWords(socket)).toBe("synced receipt problem");
    const [, receipt, problem] = socket.messages.map((text) => JSON.parse(text));
    expect(receipt).toMatchObject({ receipt: { event: "b", version: 2 }, ref: "one" });
    expect(problem).toMatchObject({ problem: { code: "invalid-event" }, ref: "two" });
    socket.send('{"topics":["b"],"ref":3}');
    await until(() => inWords(socket)).toBe("synced receipt problem reset b2 synced");
    socket.send("ping");
    await until(() => socket.messages.at(-1)).toBe("pong");
  });

  test("comes back after a restart without loss and without a reset", async () => {
    await server.insert("a", "1");
    const before = await open("ws");
    await until(() => inWords(before)).toBe("a1 synced");
    await server.insert("b", "1");
    await until(() => inWords(before)).toBe("a1 synced b1");
    await server.restart();
    await until(() => before.end).toMatchObject({ code: 1001, clean: true });
    expect(before.end?.reason).toMatch(/^retry:[1-5]\d{3}$/);
    await server.insert("c", "1");
    const after = await open(`ws?last_event_id=${lastCursor(before)}`);
    await until(() => inWords(after)).toBe("c1 synced");
  });

  test("closes with its own code, and is not cut for pings that it answers", async () => {
    const socket = await open("subscribe/bare");
    await server.insert("bare", '"as its text 🦀"');
    await until(() => socket.messages).toEqual(["as its text 🦀"]);
    const since = Date.now();
    // Twice as long as an unanswered ping is waited for.
    await until(() => Date.now() - since).toBeGreaterThan(4_000);
    await server.insert("bare", '{"a":[1]}');
    await until(() => socket.messages.at(-1)).toBe('{"a":[1]}');
    socket.close(3001, "done");
    await until(() => socket.end).toMatchObject({ code: 3001, clean: true });
  });
});

test("PyPI websockets sends a message in fragments", async () => {
  const socket = await websockets(at("ws?event=nothing"));
  const message = '{"insert":{"event":"a","data":"in pieces"},"ref":1}';
  socket.fragments([...message]);
  await until(() => inWords(socket)).toBe("synced receipt");
  socket.close(1000, "");
});

describe("a page of another origin", () => {
  let site: Http;
  let page: URL;
  let chromium: Client;

  beforeAll(async () => {
    site = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("hi"));
    await new Promise<void>((done) => site.listen(0, "127.0.0.1", done));
    page = new URL(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`);
    chromium = (await socketClients.Chromium?.()) as Client;
  });

  afterAll(async () => {
    await chromium?.stop();
    site?.close();
  });

  test("gets a socket when the setting allows it, and none when not", async () => {
    const allowed = await chromium.open(at("ws"), page);
    await until(() => inWords(allowed)).toBe("synced");
    const strict = await Server.start({ BROKER_ORIGIN: "https://app.example.com" });
    const url = new URL("ws", strict.url);
    url.protocol = "ws:";
    const refused = await chromium.open(url, page);
    await until(() => refused.end).toMatchObject({ code: 1006, clean: false });
    const own = await chromium.open(url, strict.url);
    await until(() => inWords(own)).toBe("synced");
    await strict.remove();
  });
});
