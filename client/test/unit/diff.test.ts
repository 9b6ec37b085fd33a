import { expect, test } from "vitest";
import { diff } from "../../src/diff";

test("added, removed and changed members are told by path", () => {
  expect(diff('{"a":{"b":1,"c":2},"d":3}', '{"a":{"b":9,"e":"x"},"d":3}')).toEqual([
    { kind: "changed", path: "a.b", before: "1", after: "9" },
    { kind: "removed", path: "a.c", before: "2" },
    { kind: "added", path: "a.e", after: '"x"' },
  ]);
});

test("the order of keys and the spelling of strings change nothing", () => {
  expect(diff('{"a":1,"b":"A"}', String.raw`{"b":"\u0041","a":1}`)).toEqual([]);
});

test("numbers beyond double precision differ", () => {
  expect(diff("12345678901234567890", "12345678901234567891")).toHaveLength(1);
});

test("an item put into an array is one change", () => {
  expect(diff("[1,2,3]", "[1,7,2,3]")).toEqual([{ kind: "added", path: "[1]", after: "7" }]);
  expect(diff("[1,2,3]", "[1,3]")).toEqual([{ kind: "removed", path: "[1]", before: "2" }]);
  expect(diff('[{"a":1},2]', '[{"a":5},2]')).toEqual([
    { kind: "changed", path: "[0].a", before: "1", after: "5" },
  ]);
});

test("another kind of value is one change of the whole", () => {
  expect(diff('{"a":1}', "[1]")).toEqual([
    { kind: "changed", path: "value", before: '{"a":1}', after: "[1]" },
  ]);
  expect(diff("1", "2")).toEqual([{ kind: "changed", path: "value", before: "1", after: "2" }]);
});

test("names that are no plain words are quoted in paths", () => {
  expect(diff('{"x y":{"":1}}', '{"x y":{"":2}}')).toEqual([
    { kind: "changed", path: '["x y"][""]', before: "1", after: "2" },
  ]);
});
