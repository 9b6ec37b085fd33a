import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { records } from "../../demo/records.mjs";

const all = records();

test("the feed is 1,707 quakes and five stocks", () => {
  const names = new Set(all.map(({ event }) => event));
  expect([all.length, names.size]).toEqual([2_267, 1_712]);
  expect(all.filter(({ event }) => event === "stock.AAPL")).toHaveLength(123);
  expect(all.filter(({ event }) => event === "stock.GOOG")).toHaveLength(68);
});

test("the feed is the same every time, to the byte", () => {
  const digest = createHash("sha256").update(JSON.stringify(all)).digest("hex");
  expect(records()).toEqual(all);
  expect(digest).toMatchInlineSnapshot(
    `"9b3df72d5b093408b77e462f8fa4572b73217eb95ff97a82c3c84940599a125e"`,
  );
});

test("every name and id is acceptable, no id comes twice", () => {
  for (const { event, id, data } of all) {
    expect(event).toMatch(/^(quake\.[a-z0-9]+|stock\.[A-Z]+)$/);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(JSON.stringify(JSON.parse(data))).toBe(data);
  }
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
});

test("one stock's months come in order, between quakes", () => {
  const months = all.flatMap(({ event, data }) =>
    event === "stock.IBM" ? [(JSON.parse(data) as { date: string }).date] : [],
  );
  expect(months).toEqual(months.toSorted());
  expect(months[0]).toBe("2000-01-01");
  const first = all.slice(0, 200).map(({ event }) => event.split(".")[0]);
  expect(new Set(first)).toEqual(new Set(["quake", "stock"]));
});

test("a month is what the table says", () => {
  expect(all.find(({ event }) => event === "stock.MSFT")?.data).toBe(
    '{"symbol":"MSFT","date":"2000-01-01","price":39.81}',
  );
});
