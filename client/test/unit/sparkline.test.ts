// @vitest-environment happy-dom
import { expect, test } from "vitest";
import { seriesOf, sparkline } from "../../src/sparkline";

test("the first number that moves is drawn", () => {
  const values = ['{"id":7,"symbol":"X","price":1.5}', '{"id":7,"symbol":"X","price":2.5}'];
  expect(seriesOf(values)).toEqual({ name: "price", points: [1.5, 2.5] });
});

test("a value that is a number is drawn itself", () => {
  expect(seriesOf(["1", "null", "3"])).toEqual({ name: "", points: [1, 3] });
});

test("nothing is drawn of text or of one version", () => {
  expect(seriesOf(['"a"', '"b"'])).toBeUndefined();
  expect(seriesOf(["1"])).toBeUndefined();
});

test("the chart says in words what it shows, and a flat line is drawable", () => {
  const chart = sparkline({ name: "price", points: [2, 2] });
  expect(chart.getAttribute("aria-label")).toBe("price over 2 versions, from 2 to 2");
  expect(chart.querySelector("polyline")?.getAttribute("points")).not.toMatch(/NaN/);
});
