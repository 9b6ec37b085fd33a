#!/usr/bin/env node
/**
 * Draws the page with the demo's data, for the README:
 *
 *   node scripts/screenshot.mjs --url http://127.0.0.1:8080 ../docs/images/page.png
 *
 * The server is running and fed (npm run feed -- --speed 0). `--event` is the event whose history
 * is shown; `--relay` shows the relay's tab instead, and says something there; `--dark` and
 * `--width` draw what else a reviewer wants to see.
 */
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: "string", default: "http://127.0.0.1:8080" },
    event: { type: "string", default: "stock.AAPL" },
    width: { type: "string", default: "1280" },
    height: { type: "string", default: "800" },
    relay: { type: "boolean", default: false },
    dark: { type: "boolean", default: false },
    full: { type: "boolean", default: false },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
const [path] = positionals;
if (path === undefined) throw new Error("say where to write the picture: screenshot.mjs page.png");

/** What is said on the relay's tab: topic, message, and to whom. */
const SAID = [
  ["cats", "Two grey kittens are looking for a home.", "Everybody"],
  ["dogs", "Walk at six, by the river. Bring a ball.", "Everybody"],
  ["birds", "The swifts are back! First one seen over the old mill this morning.", "Everybody"],
  ["dogs", "Your dog ate my shoe. Just so you know.", "ben"],
  ["cats", "The vet has moved your appointment to Tuesday.", "ann"],
  ["dogs", "Found: a red collar with the name Bello.", "Everybody"],
];

/** @param {import("playwright-core").Page} page */
async function speak(page) {
  for (const client of ["#client-1", "#client-2"]) {
    await page.locator(`${client} .chips[aria-busy="false"]`).waitFor();
  }
  for (const [topic = "", message = "", to = ""] of SAID) {
    await page.locator("#topic").fill(topic);
    await page.locator("#message").fill(message);
    await page.locator("#audience label", { hasText: to }).click();
    await page.locator("#publish-send").click();
    await page.locator(".said", { hasText: message }).first().waitFor();
  }
  await page.locator("#topic-audits button", { hasText: "dogs" }).click();
  await page.locator("#versions > li").first().waitFor();
}

const browser = await chromium.launch({
  executablePath: values.chromium,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
});
try {
  const page = await browser.newPage({
    viewport: { width: Number(values.width), height: Number(values.height) },
    deviceScaleFactor: 2,
    colorScheme: values.dark ? "dark" : "light",
    reducedMotion: "reduce",
  });
  const base = values.url.replace(/\/?$/, "/");
  await page.goto(`${base}#${values.relay ? "/relay" : encodeURIComponent(values.event)}`);
  await page.locator('#connection[data-phase="live"]').waitFor();
  if (values.relay) {
    await speak(page);
  } else {
    await page.locator("#rows tr").first().waitFor();
    if (values.event !== "") await page.locator("#versions > li").first().waitFor();
  }
  await page.screenshot({ path, fullPage: values.full });
} finally {
  await browser.close();
}
