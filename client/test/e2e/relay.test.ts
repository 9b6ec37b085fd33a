import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, openPage } from "./browser";
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

type Which = 1 | 2;

const client = (page: Page, which: Which) => page.locator(`#client-${which}`);
const heard = (page: Page, which: Which) => client(page, which).locator(".said").allTextContents();

async function openRelay(): Promise<{ page: Page; complaints: string[] }> {
  const opened = await openPage(browser, server.url);
  await opened.page.getByRole("tab", { name: "Relay" }).click();
  await waitConnected(opened.page);
  return opened;
}

async function waitConnected(page: Page): Promise<void> {
  for (const which of [1, 2] as const) {
    await client(page, which).locator('.link[data-phase="live"]').waitFor();
    await waitTaken(page, which);
  }
}

/** The server has taken in the topics that were chosen. */
async function waitTaken(page: Page, which: Which): Promise<void> {
  await client(page, which).locator('.chips[aria-busy="false"]').waitFor();
}

/** Presses the chip of a topic, and waits until that holds. */
async function toggle(page: Page, which: Which, topic: string): Promise<void> {
  await client(page, which).locator(".chips").getByRole("button", { name: topic }).click();
  await waitTaken(page, which);
}

async function say(page: Page, topic: string, message: string, to = "Everybody"): Promise<void> {
  await page.getByLabel("Topic", { exact: true }).fill(topic);
  await page.getByLabel("Message text").fill(message);
  await page.locator("#audience label", { hasText: to }).click();
  await page.getByRole("button", { name: "Publish" }).click();
  await expect.poll(() => page.getByLabel("Message text").inputValue()).toBe("");
}

test("a message reaches the clients that have its topic, or those of one user, live", async () => {
  const { page, complaints } = await openRelay();
  await say(page, "cats", "for cats");
  await say(page, "dogs", "for both");
  await say(page, "dogs", "for ben alone", "ben");
  await say(page, "dogs", "for ann alone", "ann");
  await expect.poll(() => heard(page, 1)).toEqual(["for ann alone", "for both", "for cats"]);
  await expect.poll(() => heard(page, 2)).toEqual(["for ben alone", "for both"]);
  expect(await client(page, 1).locator(".private").count()).toBe(1);
  expect(complaints).toEqual([]);
  await page.close();
});

test("a chip changes what a client gets from then on", async () => {
  const { page } = await openRelay();
  await say(page, "cats", "unheard by ben");
  await toggle(page, 2, "cats");
  await toggle(page, 1, "cats");
  await say(page, "cats", "heard by ben");
  await expect.poll(() => heard(page, 2)).toContain("heard by ben");
  await say(page, "dogs", "the end");
  await expect.poll(() => heard(page, 1)).toEqual(["the end", "unheard by ben"]);
  await expect.poll(() => heard(page, 2)).toEqual(["the end", "heard by ben"]);
  await page.close();
});

test("the audit of a topic is one click away, and shows no private message", async () => {
  const { page, complaints } = await openRelay();
  await say(page, "birds", "first");
  await say(page, "birds", "secret", "ben");
  await say(page, "birds", "second");
  await expect.poll(() => heard(page, 2)).toEqual(["second", "secret", "first"]);
  await client(page, 2).getByRole("button", { name: "birds" }).last().click();
  const versions = page.locator("#versions > li");
  await expect.poll(() => versions.count()).toBe(2);
  await say(page, "birds", "third");
  await expect.poll(() => versions.count()).toBe(3);
  expect(await page.locator("#history").textContent()).not.toContain("secret");
  await page.locator("#topic-audits").getByRole("button", { name: "dogs" }).click();
  await expect.poll(() => page.locator("#history-name").textContent()).toBe("dogs");
  expect(complaints).toEqual([]);
  await page.close();
});

test("a topic that was new becomes a chip, and a user that was changed gets the user's messages", async () => {
  const { page } = await openRelay();
  await say(page, "weather.sea", "nobody hears this");
  await toggle(page, 2, "weather.sea");
  await client(page, 2).getByLabel("User of this client").fill("carl");
  await client(page, 2).getByLabel("User of this client").press("Enter");
  await waitConnected(page);
  await say(page, "weather.sea", "for carl alone", "carl");
  await expect.poll(() => heard(page, 2)).toEqual(["for carl alone"]);
  expect(await heard(page, 1)).toEqual([]);
  await page.close();
});

test("the clients come back after a restart of the server", async () => {
  const { page } = await openRelay();
  await server.restart();
  await client(page, 1).locator('.link[data-phase="reconnecting"]').waitFor();
  await waitConnected(page);
  await say(page, "dogs", "after the restart");
  for (const which of [1, 2] as const) {
    await expect.poll(() => heard(page, which)).toEqual(["after the restart"]);
  }
  await page.close();
});

test("a refusal is shown, and the address of the tab opens it", async () => {
  const { page } = await openPage(browser, new URL("#/relay", server.url));
  await waitConnected(page);
  await page.getByLabel("Topic", { exact: true }).fill("no topic");
  await page.getByRole("button", { name: "Publish" }).click();
  await expect.poll(() => page.locator("#publish-error").textContent()).toMatch(/^topic: /);
  await page.getByRole("tab", { name: "Relay" }).press("ArrowLeft");
  await page.getByRole("button", { name: "Insert" }).waitFor();
  expect(await page.locator("#view-relay").isVisible()).toBe(false);
  await page.close();
});

test("a message is text, whatever it says", async () => {
  const { page, complaints } = await openRelay();
  const evil = `<img src=x onerror="document.title='bad'">`;
  await say(page, "dogs", evil);
  await expect.poll(() => heard(page, 1)).toEqual([evil]);
  expect(await page.locator("main img").count()).toBe(0);
  expect(await page.title()).toBe("Broker");
  expect(complaints).toEqual([]);
  await page.close();
});
