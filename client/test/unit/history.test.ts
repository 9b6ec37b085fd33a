import { expect, test } from "vitest";
import { type AuditPage, nextPage } from "../../src/audit";
import { History } from "../../src/history";
import { receive } from "../../src/record";

const BASE = new URL("http://broker.test/prefix/");

const version = (v: number) =>
  receive(
    JSON.stringify({ seq: v * 10, event: "a b", version: v, id: "i", timestamp: "t", data: v }),
  );
const versions = (from: number, to: number) =>
  Array.from({ length: from - to + 1 }, (_, at) => version(from - at));

function history(...pages: AuditPage[]) {
  const asked: string[] = [];
  const made = new History(
    BASE,
    "a b",
    undefined,
    () => {},
    async (url) => {
      asked.push(url.href);
      const page = pages.shift();
      if (page === undefined) throw new Error("no such event");
      return page;
    },
  );
  const shown = () => made.entries.map(({ record }) => record.version);
  return { made, asked, shown };
}

const settle = () => new Promise<void>((done) => setTimeout(done));

test("each version stands beside the one before it, across pages", async () => {
  const older = new URL("audit/a%20b?page=2", BASE);
  const { made, asked, shown } = history(
    { records: versions(5, 3), older },
    { records: versions(2, 1), older: undefined },
  );
  await made.load();
  expect(asked[0]).toBe("http://broker.test/prefix/audit/a%20b?order=desc&limit=50");
  expect(shown()).toEqual([5, 4]);
  expect(made.entries.map(({ before }) => before?.version)).toEqual([4, 3]);
  await made.loadOlder();
  expect(shown()).toEqual([5, 4, 3, 2, 1]);
  expect(made.entries.at(-1)?.before).toBeUndefined();
  expect(made.hasOlder).toBe(false);
});

test("the next version from the stream goes on top", async () => {
  const { made, shown, asked } = history({ records: versions(2, 1), older: undefined });
  await made.load();
  made.follow(version(3));
  made.follow(version(3));
  expect(shown()).toEqual([3, 2, 1]);
  expect(asked).toHaveLength(1);
});

test("versions that the stream skipped are fetched", async () => {
  const { made, shown } = history(
    { records: versions(2, 1), older: undefined },
    { records: versions(6, 1), older: undefined },
  );
  await made.load();
  made.follow(version(5));
  await settle();
  expect(shown()).toEqual([6, 5, 4, 3, 2, 1]);
});

test("a version that came while the page was loading is not lost", async () => {
  const { made, shown } = history({ records: versions(2, 1), older: undefined });
  const loading = made.load();
  made.follow(version(3));
  await loading;
  expect(shown()).toEqual([3, 2, 1]);
});

test("a failure is told and does not loop", async () => {
  const { made, asked } = history();
  made.follow(version(4));
  await settle();
  expect(made.error).toBe("no such event");
  expect(asked).toHaveLength(1);
});

test("paging follows the link's query under the page's own path", () => {
  const url = new URL("audit/a%20b?limit=50", BASE);
  expect(nextPage(url, '</audit/a%20b?before=3&limit=50>; rel="next"')?.href).toBe(
    "http://broker.test/prefix/audit/a%20b?before=3&limit=50",
  );
  expect(nextPage(url, '<?x=1>; rel="prev", <?x=2>; rel=next')?.search).toBe("?x=2");
  expect(nextPage(url, '<?x=1>; rel="prev"')).toBeUndefined();
  expect(nextPage(url, null)).toBeUndefined();
});
