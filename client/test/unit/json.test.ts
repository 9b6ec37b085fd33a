import { describe, expect, test } from "vitest";
import { items, members, memberText, pretty, preview } from "../../src/json";

describe("JSON as text", () => {
  test("numbers keep every digit", () => {
    expect(memberText('{"seq":1,"data":12345678901234567890.10}', "data")).toBe(
      "12345678901234567890.10",
    );
  });

  test("brackets, quotes and backslashes inside strings end nothing", () => {
    const object = String.raw`{"a":"}]\"\\","b":["]","{",["\\\""]],"c":{"d":{}}}`;
    expect(members(object)).toEqual([
      ["a", String.raw`"}]\"\\"`],
      ["b", String.raw`["]","{",["\\\""]]`],
      ["c", '{"d":{}}'],
    ]);
  });

  test("names are decoded", () => {
    expect(members(String.raw`{"\u0061\n":null}`)).toEqual([["a\n", "null"]]);
  });

  test("space between tokens is skipped", () => {
    expect(items(' [ 1 , "x" , { "a" : [ ] } ] '.trim())).toEqual(["1", '"x"', '{ "a" : [ ] }']);
    expect(members('{ "a" : true , "b" : -1e9 }')).toEqual([
      ["a", "true"],
      ["b", "-1e9"],
    ]);
  });

  test("empty containers have nothing inside", () => {
    expect(members("{}")).toEqual([]);
    expect(items("[ ]")).toEqual([]);
  });

  test("pretty keeps the value", () => {
    const text = '{"a":[1,{"b":[]}],"c":{},"d":"x, y: {"}';
    expect(JSON.parse(pretty(text))).toEqual(JSON.parse(text));
    expect(pretty('{"a":[1]}')).toBe('{\n  "a": [\n    1\n  ]\n}');
  });

  test("a preview is one line without punctuation", () => {
    expect(preview('{"place":"Nome","mag":2.50,"at":[1,2]}')).toBe(
      "place: Nome, mag: 2.50, at: [1,2]",
    );
    expect(preview('"text"')).toBe('"text"');
    expect(preview("{}")).toBe("{}");
  });
});
