import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DemoRecord, records } from "../../demo/records.mjs";
import { memberText } from "../../src/json";
import { launch, openPage } from "./browser";
import { Server } from "./server";

const run = promisify(execFile);
const script = fileURLToPath(new URL("../../demo/feed.mjs", import.meta.url));

/** 2,267 inserts twice and 1,712 reads, against a debug build on a busy machine. */
const FEED_TIMEOUT_MS = 180_000;

let server: Server;

beforeAll(async () => {
  server = await Server.start();
});

afterAll(async () => {
  await server?.remove();
});

const feed = (...args: string[]) =>
  run(process.execPath, [script, "--url", server.url.href, "--speed", "0", ...args]);

test(
  "the feed stores every record, byte for byte, and a second time nothing",
  async () => {
    expect((await feed()).stdout).toContain("fed 2267 records: 2267 new, 0 known already");
    expect((await feed()).stdout).toContain("fed 2267 records: 0 new, 2267 known already");
    const expected = byEvent(records());
    expect(expected.size).toBe(1_712);
    for (const [event, versions] of expected) {
      const response = await fetch(new URL(`audit/${encodeURIComponent(event)}`, server.url), {
        headers: { accept: "application/x-ndjson" },
      });
      const lines = (await response.text()).trimEnd().split("\n");
      expect(lines.length, event).toBe(versions.length);
      for (const [at, { id, data }] of versions.entries()) {
        const line = lines[at] ?? "";
        expect(line).toContain(`"data":${data}`);
        expect(memberText(line, "data")).toBe(data);
        expect(JSON.parse(line)).toMatchObject({ event, id, version: at + 1 });
      }
    }
  },
  FEED_TIMEOUT_MS,
);

function byEvent(all: DemoRecord[]): Map<string, DemoRecord[]> {
  const groups = new Map<string, DemoRecord[]>();
  for (const record of all) groups.set(record.event, [...(groups.get(record.event) ?? []), record]);
  return groups;
}

test("the page shows every event of the feed", async () => {
  const browser = await launch();
  try {
    const { page, complaints } = await openPage(browser, server.url);
    await expect.poll(() => page.locator("#count").textContent()).toBe("1,712 events");
    expect(await page.locator("#rows tr").count()).toBe(200);
    await page.getByLabel("Filter by name").fill("stock.");
    await expect.poll(() => page.locator("#rows tr").count()).toBe(5);
    expect(complaints).toEqual([]);
  } finally {
    await browser.close();
  }
});

test("the feed fails in words when nothing answers", async () => {
  await server.stop();
  const failure = feed();
  await expect(failure).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining("feed: no answer from"),
  });
  await server.start();
});
