import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { expect } from "vitest";

/** Debian's browser; a fresh profile each time is what launch gives. */
export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.BROKER_TEST_CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** What a page complained about: errors on the console, uncaught ones, broken policy. */
export type Complaints = string[];

export async function openPage(
  context: Browser | BrowserContext,
  url: URL,
): Promise<{ page: Page; complaints: Complaints }> {
  const page = await context.newPage();
  const complaints: Complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.exposeFunction("complain", (text: string) => complaints.push(text));
  await page.addInitScript(`addEventListener("securitypolicyviolation",
    (event) => complain("policy: " + event.violatedDirective + " " + event.blockedURI))`);
  await page.goto(url.href);
  await waitLive(page);
  return { page, complaints };
}

export async function waitLive(page: Page): Promise<void> {
  await page.locator('#connection[data-phase="live"]').waitFor();
}

export function row(page: Page, event: string) {
  return page.locator(`#rows tr[data-key=${JSON.stringify(event)}]`);
}

/** Waits until the row shows this version and this value. */
export async function expectRow(page: Page, event: string, version: number, value: string) {
  await expect
    .poll(() => row(page, event).locator("td.version, td.value").allTextContents())
    .toEqual([String(version), value]);
}

export async function fillForm(page: Page, event: string, value: string): Promise<void> {
  await page.getByLabel("Event", { exact: true }).fill(event);
  await page.getByLabel(/^Value/).fill(value);
}
