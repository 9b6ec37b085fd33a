import { expect, test } from "vitest";
import { Newest } from "../../src/newest";
import { dataText, receive } from "../../src/record";

const record = (seq: number, event: string, version: number, to?: string) =>
  receive(JSON.stringify({ seq, event, version, id: "i", timestamp: "t", to, data: version }));

test("what is shown never goes backwards", () => {
  const newest = new Newest();
  expect(newest.apply(record(7, "a", 2))).toBe(true);
  expect(newest.apply(record(3, "a", 1))).toBe(false);
  expect(newest.apply(record(7, "a", 2))).toBe(false);
  expect(newest.get("a")?.version).toBe(2);
});

test("what changed last comes first, bounded, and everything is counted", () => {
  const newest = new Newest();
  for (let seq = 1; seq <= 300; seq += 1) newest.apply(record(seq, `e.${seq}`, 1));
  newest.apply(record(301, "e.5", 2));
  const { shown, matching } = newest.select("", 3);
  expect(shown.map(({ event }) => event)).toEqual(["e.5", "e.300", "e.299"]);
  expect([matching, newest.size]).toEqual([300, 300]);
});

test("the filter reads names without regard to case", () => {
  const newest = new Newest();
  newest.apply(record(1, "stock.AAPL", 1));
  newest.apply(record(2, "quake.x", 1));
  expect(newest.select(" aapl ", 9).shown.map(({ event }) => event)).toEqual(["stock.AAPL"]);
});

test("a private value stands beside the public one of the same name", () => {
  const newest = new Newest();
  newest.apply(record(1, "a", 4));
  newest.apply(record(2, "a", 1, "ann"));
  expect(newest.size).toBe(2);
});

test("the value keeps the text that came", () => {
  const text = '{"seq":1,"event":"a","version":1,"id":"i","timestamp":"t","data":1.10,"hash":"h"}';
  expect(dataText(receive(text))).toBe("1.10");
});
