import { expect, test } from "vitest";
import type { Connection } from "../../src/connection";
import { Stream, type StreamWorld } from "../../src/stream";

class FakeSource extends EventTarget {
  readyState = 0;

  constructor(readonly url: string) {
    super();
  }

  tell(type: string, data: string, lastEventId: string) {
    this.dispatchEvent(Object.assign(new Event(type), { data, lastEventId }));
  }

  fail(readyState: 0 | 2) {
    this.readyState = readyState;
    this.dispatchEvent(new Event("error"));
  }

  close() {
    this.readyState = 2;
  }
}

function world(status?: number) {
  const sources: FakeSource[] = [];
  const timers: { ms: number; run: () => void }[] = [];
  const fake: StreamWorld = {
    open: (url) => {
      const source = new FakeSource(url);
      sources.push(source);
      return source as unknown as EventSource;
    },
    probe: async () => status,
    random: () => 1,
    later: (ms, run) => {
      const timer = { ms, run };
      timers.push(timer);
      return () => timers.splice(timers.indexOf(timer), 1);
    },
  };
  return { fake, sources, timers };
}

function follow(fake: StreamWorld) {
  const seen: string[] = [];
  const phases: Connection["phase"][] = [];
  const stream = new Stream(
    new URL("http://broker.test/prefix/events?dispatch=message"),
    {
      onConnection: ({ phase }) => phases.push(phase),
      onRecord: ({ event, version }) => seen.push(`${event} ${version}`),
      onReset: () => seen.push("reset"),
    },
    fake,
  );
  stream.start();
  return { stream, seen, phases };
}

const RECORD = '{"seq":5,"event":"a","version":2,"id":"i","timestamp":"t","data":1}';

/** Lets a probe's promise be answered. */
const settle = () => new Promise<void>((done) => queueMicrotask(() => queueMicrotask(done)));

test("records and marks reach their handlers", () => {
  const { fake, sources } = world();
  const { seen, phases } = follow(fake);
  sources[0]?.tell("broker:reset", "{}", "e-0-v");
  sources[0]?.tell("message", RECORD, "e-5-v");
  sources[0]?.tell("broker:synced", "{}", "e-5-v");
  expect(seen).toEqual(["reset", "a 2"]);
  expect(phases).toEqual(["connecting", "live"]);
});

test("while the browser reconnects by itself nothing new is opened", () => {
  const { fake, sources, timers } = world();
  const { phases } = follow(fake);
  sources[0]?.tell("broker:synced", "{}", "e-5-v");
  sources[0]?.fail(0);
  expect(phases.at(-1)).toBe("reconnecting");
  expect([sources.length, timers.length]).toEqual([1, 0]);
});

test("a stream the browser gave up is opened again where it was", async () => {
  const { fake, sources, timers } = world(503);
  follow(fake);
  sources[0]?.tell("message", RECORD, "e-5-v");
  sources[0]?.fail(2);
  timers[0]?.run();
  await settle();
  expect(sources).toHaveLength(2);
  expect(new URL(sources[1]?.url ?? "").search).toBe("?dispatch=message&last_event_id=e-5-v");
});

test("a refusal ends the stream until somebody starts it again", async () => {
  const { fake, sources, timers } = world(401);
  const { stream, phases } = follow(fake);
  sources[0]?.fail(2);
  timers[0]?.run();
  await settle();
  expect(phases.at(-1)).toBe("ended");
  expect(sources).toHaveLength(1);
  stream.start();
  expect(phases.at(-1)).toBe("connecting");
  expect(sources).toHaveLength(2);
});

test("a stopped stream stays stopped, whatever was under way", async () => {
  const { fake, sources, timers } = world();
  const { stream } = follow(fake);
  sources[0]?.fail(2);
  const retry = timers[0];
  stream.stop();
  expect(timers).toHaveLength(0);
  retry?.run();
  await settle();
  expect(sources).toHaveLength(1);
});
