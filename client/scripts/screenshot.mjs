#!/usr/bin/env node
/**
 * Draws the page with the demo's data, for the README:
 *
 *   node scripts/screenshot.mjs --url http://127.0.0.1:8080 ../docs/page.png
 *
 * The server is running and fed (npm run feed -- --speed 0). `--event` is the event whose history
 * is shown; `--dark` and `--width` draw what else a reviewer wants to see.
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
    dark: { type: "boolean", default: false },
    full: { type: "boolean", default: false },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
const [path] = positionals;
if (path === undefined) throw new Error("say where to write the picture: screenshot.mjs page.png");

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
  await page.goto(`${base}#${encodeURIComponent(values.event)}`);
  await page.locator('#connection[data-phase="live"]').waitFor();
  await page.locator("#rows tr").first().waitFor();
  if (values.event !== "") await page.locator("#versions > li").first().waitFor();
  await page.screenshot({ path, fullPage: values.full });
} finally {
  await browser.close();
}
