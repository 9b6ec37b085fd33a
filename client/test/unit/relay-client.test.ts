import { expect, test } from "vitest";
import type { Connection } from "../../src/connection";
import { RelayClient, type RelayWorld } from "../../src/relay-client";

class FakeSocket extends EventTarget {
  readyState = 0;
  readonly sent: string[] = [];

  constructor(readonly url: URL) {
    super();
  }

  open() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  tell(data: string) {
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }

  send(text: string) {
    this.sent.push(text);
  }

  close(code = 1006) {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

const url = (id: string) => Response.json({ url: `ws://elsewhere.test/ws/${id}` });

/** Answers registrations in turn; an Error stands for a connection that broke. */
function world(...answers: (Error | Response)[]) {
  const sockets: FakeSocket[] = [];
  const timers: { ms: number; run: () => void }[] = [];
  const requests: string[] = [];
  const fake: RelayWorld = {
    fetch: async (url, init) => {
      requests.push(`${init.method} ${url.pathname} ${init.body ?? ""}`.trim());
      if (init.method === "DELETE") return new Response(null, { status: 204 });
      const answer = answers.shift();
      if (answer === undefined || answer instanceof Error) throw answer ?? new Error("unexpected");
      return answer;
    },
    open: (url) => {
      const socket = new FakeSocket(url);
      sockets.push(socket);
      return socket as unknown as WebSocket;
    },
    random: () => 1,
    later: (ms, run) => {
      const timer = { ms, run };
      timers.push(timer);
      return () => timers.splice(timers.indexOf(timer), 1);
    },
  };
  return { fake, sockets, timers, requests };
}

function client(fake: RelayWorld) {
  const heard: string[] = [];
  const phases: Connection["phase"][] = [];
  const taken: boolean[] = [];
  const made = new RelayClient(
    new URL("https://broker.test/prefix/"),
    {
      onConnection: ({ phase }) => phases.push(phase),
      onMessage: ({ event, version }) => heard.push(`${event} ${version}`),
      onTopics: (areTaken) => taken.push(areTaken),
    },
    fake,
  );
  made.user = "ann";
  made.topics = ["cats"];
  return { made, heard, phases, taken };
}

const RECORD = '{"seq":5,"event":"cats","version":2,"id":"i","timestamp":"t","data":"hi"}';

/** Lets answers that are there already be taken. */
const settle = () => new Promise<void>((done) => setTimeout(done));

test("a client registers, connects below the page's own address, and hears", async () => {
  const { fake, sockets, requests } = world(url("one"));
  const { made, heard, phases } = client(fake);
  made.start();
  await settle();
  expect(requests).toEqual(['POST /prefix/register {"user_id":"ann","topics":["cats"]}']);
  expect(sockets[0]?.url.href).toBe("wss://broker.test/prefix/ws/one?format=record");
  sockets[0]?.open();
  sockets[0]?.tell(RECORD);
  expect(heard).toEqual(["cats 2"]);
  expect(phases).toEqual(["connecting", "live"]);
});

test("topics hold when the last of them is confirmed", async () => {
  const { fake, sockets } = world(url("one"));
  const { made, taken, heard } = client(fake);
  made.start();
  await settle();
  sockets[0]?.open();
  made.topics = ["dogs"];
  sockets[0]?.tell("pong");
  expect(taken).toEqual([false, false]);
  sockets[0]?.tell("pong");
  expect(taken).toEqual([false, false, true]);
  expect(heard).toEqual([]);
});

test("topics are told as soon as they change, and again when the connection is new", async () => {
  const { fake, sockets, timers } = world(url("one"));
  const { made } = client(fake);
  made.start();
  await settle();
  made.topics = ["cats", "dogs"];
  sockets[0]?.open();
  made.topics = [];
  expect(sockets[0]?.sent).toEqual(['{"topics":["cats","dogs"]}', "ping", '{"topics":[]}', "ping"]);
  sockets[0]?.close();
  made.topics = ["birds"];
  timers[0]?.run();
  sockets[1]?.open();
  expect(sockets[1]?.sent).toEqual(['{"topics":["birds"]}', "ping"]);
});

test("a client that was taken over stays away", async () => {
  const { fake, sockets, timers, requests } = world(url("one"));
  const { made, phases } = client(fake);
  made.start();
  await settle();
  sockets[0]?.open();
  sockets[0]?.close(4001);
  expect(phases.at(-1)).toBe("ended");
  expect(timers).toEqual([]);
  expect(requests.length).toBe(1);
});

test("a lost connection comes back to the same registration, and to a new one when that is gone", async () => {
  const { fake, sockets, timers, requests } = world(url("one"), url("two"));
  const { made, phases } = client(fake);
  made.start();
  await settle();
  sockets[0]?.open();
  sockets[0]?.close();
  expect(phases.at(-1)).toBe("reconnecting");
  timers[0]?.run();
  expect(sockets[1]?.url.pathname).toBe("/prefix/ws/one");
  sockets[1]?.close();
  timers[1]?.run();
  await settle();
  expect(requests).toHaveLength(2);
  expect(sockets[2]?.url.pathname).toBe("/prefix/ws/two");
  sockets[2]?.open();
  expect(phases.at(-1)).toBe("live");
});

test("a server that is away or full is asked again, one that refuses is not", async () => {
  const busy = Response.json({}, { status: 429 });
  const no = Response.json({ code: "invalid-registration" }, { status: 422 });
  const { fake, sockets, timers, requests } = world(new TypeError("network"), busy, no);
  const { made, phases } = client(fake);
  made.start();
  await settle();
  timers[0]?.run();
  await settle();
  timers[1]?.run();
  await settle();
  expect(requests).toHaveLength(3);
  expect([sockets.length, timers.length]).toEqual([0, 2]);
  expect(phases.at(-1)).toBe("ended");
});

test("a client that stops deletes its registration and hears no more", async () => {
  const { fake, sockets, timers, requests } = world(url("one"));
  const { made, heard } = client(fake);
  made.start();
  await settle();
  sockets[0]?.open();
  made.stop();
  sockets[0]?.tell(RECORD);
  expect(requests.at(-1)).toBe("DELETE /prefix/register/one");
  expect([heard, timers]).toEqual([[], []]);
  made.stop();
  expect(requests).toHaveLength(2);
});

test("an answer to an earlier start is let go", async () => {
  const { fake, sockets } = world(url("one"), url("two"));
  const { made } = client(fake);
  made.start();
  made.start();
  await settle();
  expect(sockets.map((socket) => socket.url.pathname)).toEqual(["/prefix/ws/two"]);
});
