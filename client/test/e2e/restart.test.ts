import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { insert } from "../../demo/send.mjs";
import { expectRow, fillForm, launch, openPage, waitLive } from "./browser";
import { Server } from "./server";

let server: Server;
let browser: Browser;

beforeAll(async () => {
  server = await Server.start();
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  await server?.remove();
});

/** As a careful client inserts: until it is answered, again, under the same id. */
async function insertUntilAnswered(event: string, data: string): Promise<void> {
  const record = { event, id: crypto.randomUUID(), data };
  await vi.waitFor(() => insert(server.url, record), { timeout: 30_000, interval: 20 });
}

test("a page that saw the server restart while inserts ran ends on the newest values", async () => {
  const { page } = await openPage(browser, server.url);
  const inserts = (async () => {
    for (let n = 1; n <= 300; n += 1) await insertUntilAnswered(`restart.${n % 3}`, String(n));
  })();
  await page.locator("#rows tr").first().waitFor();
  await server.restart();
  await inserts;
  await expectRow(page, "restart.0", 100, "300");
  await expectRow(page, "restart.1", 100, "298");
  await expectRow(page, "restart.2", 100, "299");
  await waitLive(page);
  await page.close();
});

test("an insert without an answer says that a retry is safe, and stores once", async () => {
  const { page } = await openPage(browser, server.url);
  await fillForm(page, "restart.form", "1");
  await server.stop();
  await page.locator('#connection[data-phase="reconnecting"]').waitFor();
  await page.getByRole("button", { name: "Insert" }).click();
  await expect.poll(() => page.locator("#form-error").textContent()).toMatch(/safe/);
  await server.start();
  await page.getByRole("button", { name: "Try again" }).click();
  await expectRow(page, "restart.form", 1, "1");
  await page.close();
});

test("a page whose server lost everything shows nothing of before", async () => {
  const { page } = await openPage(browser, server.url);
  await insertUntilAnswered("restart.before", "1");
  await expectRow(page, "restart.before", 1, "1");
  await server.restartEmpty();
  await insertUntilAnswered("restart.after", "2");
  await expectRow(page, "restart.after", 1, "2");
  await expect.poll(() => page.locator("#rows tr").count()).toBe(1);
  await page.close();
});
