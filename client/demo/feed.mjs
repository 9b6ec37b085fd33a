#!/usr/bin/env node
/**
 * Feeds the demo's events to a running Broker:
 *
 *   node demo/feed.mjs --url http://127.0.0.1:8080 --speed 200
 *
 * `--speed` is in inserts a second; 0 is as fast as the server answers.
 */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Progress } from "./progress.mjs";
import { records } from "./records.mjs";
import { insert } from "./send.mjs";

/** Requests under way at once. More would only queue in the server. */
const IN_FLIGHT_MAX = 32;

/**
 * @param {URL} base
 * @param {number} speed inserts a second, 0 for no limit
 * @param {{ step(event: string): void }} progress
 * @returns {Promise<{ added: number, known: number }>}
 */
export async function feed(base, speed, progress) {
  const count = { added: 0, known: 0 };
  /** @type {Set<Promise<void>>} */
  const inFlight = new Set();
  /** @type {Map<string, Promise<void>>} */
  const newestOf = new Map();
  /** @type {unknown} */
  let failure;
  const started = performance.now();
  for (const [at, record] of records().entries()) {
    if (failure !== undefined) break;
    await until(speed === 0 ? 0 : started + (at / speed) * 1_000);
    if (inFlight.size >= IN_FLIGHT_MAX) await Promise.race(inFlight);
    // The versions of one event keep their order, whatever else is under way.
    const before = newestOf.get(record.event) ?? Promise.resolve();
    const sent = before
      .then(async () => {
        if (failure !== undefined) return;
        count[(await insert(base, record)) ? "added" : "known"] += 1;
        progress.step(record.event);
      })
      .catch((error) => {
        failure ??= error;
      })
      .finally(() => inFlight.delete(sent));
    inFlight.add(sent);
    newestOf.set(record.event, sent);
  }
  await Promise.all(inFlight);
  if (failure !== undefined) throw failure;
  return count;
}

/** @param {number} moment */
async function until(moment) {
  const wait = moment - performance.now();
  if (wait > 0) await new Promise((done) => setTimeout(done, wait));
}

async function main() {
  const { url, speed } = options();
  const progress = new Progress(records().length, process.stdout);
  try {
    const { added, known } = await feed(url, speed, progress);
    progress.end();
    console.log(`fed ${added + known} records: ${added} new, ${known} known already`);
  } catch (error) {
    progress.end();
    console.error(`feed: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}

function options() {
  const { values } = parseArgs({
    options: {
      url: { type: "string", default: "http://127.0.0.1:8080" },
      speed: { type: "string", default: "200" },
    },
  });
  const speed = Number(values.speed);
  if (!(speed >= 0)) throw new Error("--speed is a number of inserts a second, or 0");
  // Relative to a path prefix, a URL must end with its slash.
  return { url: new URL(values.url.replace(/\/?$/, "/")), speed };
}

if (realpathSync(process.argv[1] ?? "") === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(`feed: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 2;
  });
}
