import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectRow, fillForm, launch, openPage, row, waitLive } from "./browser";
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

test("what the form inserts appears on this page and on another", async () => {
  const one = await openPage(browser, server.url);
  const two = await openPage(browser, server.url);
  await fillForm(one.page, "form.first", '{"name":"Ann","n":12345678901234567890}');
  await one.page.getByRole("button", { name: "Insert" }).click();
  await expect
    .poll(() => one.page.locator("#outcome").textContent())
    .toMatch(/^Stored form\.first version 1, seq \d+$/);
  for (const { page, complaints } of [one, two]) {
    await expectRow(page, "form.first", 1, "name: Ann, n: 12345678901234567890");
    expect(complaints).toEqual([]);
    await page.close();
  }
});

test("an insert needs no mouse", async () => {
  const { page } = await openPage(browser, server.url);
  // The tabs are one stop; the form begins behind them.
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.type("keyboard.only");
  await page.keyboard.press("Tab");
  await page.keyboard.type('"by keys"');
  await page.keyboard.press("Tab");
  await page.keyboard.type("0");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expectRow(page, "keyboard.only", 1, '"by keys"');
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.type("keyboard.");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expect.poll(() => page.locator("#history-name").textContent()).toBe("keyboard.only");
  await page.close();
});

test("text that is no JSON is offered as a string", async () => {
  const { page } = await openPage(browser, server.url);
  await fillForm(page, "form.text", 'say "hi"');
  await page.getByRole("button", { name: "Insert" }).click();
  await page.locator("#data-error").getByRole("button").click();
  await expectRow(page, "form.text", 1, String.raw`"say \"hi\""`);
  await page.close();
});

test("a refusal is shown at its field, with what the server said", async () => {
  const { page } = await openPage(browser, server.url);
  await fillForm(page, "not a name", "1");
  await page.getByRole("button", { name: "Insert" }).click();
  await expect.poll(() => page.locator("#event-error").textContent()).toMatch(/\S/);
  await fillForm(page, "form.twice", '{\n"a":1,\n"a":2}');
  await page.getByRole("button", { name: "Insert" }).click();
  await expect.poll(() => page.locator("#data-error").textContent()).toMatch(/^line 3, column/);
  await server.insert("form.versions", "1");
  await fillForm(page, "form.versions", "2");
  await page.getByLabel("Expected version").fill("7");
  await page.getByRole("button", { name: "Insert" }).click();
  await expect.poll(() => page.locator("#expected-version-error").textContent()).toMatch(/1/);
  await page.close();
});

test("a stored value is text, whatever it says", async () => {
  const evil = `<img src=x onerror="document.title='bad'"><script src=x></script>`;
  await server.insert("form.evil", JSON.stringify(evil));
  const { page, complaints } = await openPage(browser, server.url);
  await server.insert("form.evil", JSON.stringify({ [evil]: evil }));
  await expectRow(page, "form.evil", 2, `${evil}: ${JSON.stringify(evil).slice(1, -1)}`);
  await row(page, "form.evil").click();
  await expect.poll(() => page.locator("#versions > li").count()).toBe(2);
  expect(await page.locator("#versions").textContent()).toContain("<img src=x onerror=");
  expect(await page.locator("main img, main script").count()).toBe(0);
  expect(await page.title()).toBe("Broker");
  expect(complaints).toEqual([]);
  await page.close();
});

test("the history tells what changed, stays live, and pages to the first version", async () => {
  for (let n = 1; n <= 120; n += 1) {
    await server.insert(
      "form.history",
      JSON.stringify({ price: n, ...(n > 118 && { note: "x" }) }),
    );
  }
  const { page, complaints } = await openPage(browser, server.url);
  await row(page, "form.history").click();
  const versions = page.locator("#versions > li");
  await expect.poll(() => versions.first().textContent()).toContain("changed price 119 → 120");
  expect(await versions.nth(1).textContent()).toContain('added note "x"');
  expect(await page.locator("#history-chart svg").getAttribute("aria-label")).toMatch(
    /^price over/,
  );
  await server.insert("form.history", '{"price":121}');
  await expect.poll(() => versions.first().textContent()).toContain('removed note "x"');
  const older = page.getByRole("button", { name: "Older versions" });
  while (await older.isVisible()) {
    const count = await versions.count();
    await older.click();
    await expect.poll(() => versions.count()).toBeGreaterThan(count);
  }
  expect(await versions.count()).toBe(121);
  expect(await versions.last().textContent()).toContain("First version");
  expect(complaints).toEqual([]);
  await page.close();
});

test("a page loaded again while inserts run ends on the newest value", async () => {
  const { page, complaints } = await openPage(browser, server.url);
  const inserts = (async () => {
    for (let n = 1; n <= 400; n += 1) await server.insert("form.reload", String(n));
  })();
  for (let reload = 0; reload < 3; reload += 1) {
    await row(page, "form.reload").waitFor();
    await page.reload();
    await waitLive(page);
  }
  await inserts;
  await expectRow(page, "form.reload", 400, "400");
  expect(complaints).toEqual([]);
  await page.close();
});
