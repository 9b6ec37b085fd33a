/**
 * The demo's events, from the npm package vega-datasets: a week of earthquakes as the USGS told it,
 * one event a quake, and ten years of five stocks, one version a month. Pure and always the same,
 * so that feeding twice changes nothing and a test can compare every byte.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** @typedef {{ event: string, id: string, data: string }} DemoRecord `data` is JSON text. */
/** @typedef {{ time: number, event: string, value: object }} Moment */

/** @returns {DemoRecord[]} in the order they are to be inserted */
export function records() {
  /** @type {Map<string, number>} */
  const versions = new Map();
  return interleave(quakes(), stocks()).map(({ event, value }) => {
    const version = (versions.get(event) ?? 0) + 1;
    versions.set(event, version);
    return { event, id: idOf(event, version), data: JSON.stringify(value) };
  });
}

/** @returns {Moment[]} */
function quakes() {
  const { features } = JSON.parse(dataset("earthquakes.json"));
  return features.map((/** @type {Quake} */ { id, properties, geometry }) => {
    const [longitude, latitude, depth] = geometry.coordinates;
    const { mag, magType, place, type } = properties;
    const time = new Date(properties.time).toISOString();
    const value = { place, mag, mag_type: magType, time, longitude, latitude, depth, type };
    return { time: properties.time, event: `quake.${id}`, value };
  });
}

/**
 * @typedef {object} Quake
 * @property {string} id
 * @property {{ mag: number, magType: string, place: string, time: number, type: string }} properties
 * @property {{ coordinates: number[] }} geometry
 */

/** @returns {Moment[]} */
function stocks() {
  const [, ...lines] = dataset("stocks.csv").trim().split("\n");
  return lines.map((line) => {
    const [symbol = "", month = "", price = ""] = line.trim().split(",");
    const time = Date.parse(`${month} UTC`);
    const date = new Date(time).toISOString().slice(0, 10);
    return { time, event: `stock.${symbol}`, value: { symbol, date, price: Number(price) } };
  });
}

/**
 * One week and ten years, each stretched over the whole feed: prices move while quakes arrive.
 * @param {Moment[][]} sources
 */
function interleave(...sources) {
  const placed = sources.flatMap((moments) => {
    const times = moments.map(({ time }) => time);
    const first = Math.min(...times);
    const span = Math.max(...times) - first;
    return moments.map((moment) => ({ ...moment, at: (moment.time - first) / span }));
  });
  return placed.sort((a, b) => a.at - b.at || (a.event < b.event ? -1 : 1));
}

/** The namespace of the demo's ids, drawn once. */
const NAMESPACE = Buffer.from("6f1d3c1e0c5b4f0e9a53b1c8d2e47f60", "hex");

/**
 * A version 5 UUID (RFC 9562): the same event and version always get the same id.
 * @param {string} event
 * @param {number} version
 */
function idOf(event, version) {
  const hash = createHash("sha1").update(NAMESPACE).update(`${event}/${version}`).digest();
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = hash.toString("hex", 0, 16);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** @param {string} name */
function dataset(name) {
  const entry = createRequire(import.meta.url).resolve("vega-datasets");
  return readFileSync(join(dirname(entry), "..", "data", name), "utf8");
}
