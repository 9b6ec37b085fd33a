import { expect, test } from "vitest";
import { backoffMs, type Connection, describe, INITIAL, isFinal, next } from "../../src/connection";

const LIVE: Connection = { phase: "live" };

test("a page is live when it has seen everything current, not before", () => {
  expect(INITIAL.phase).toBe("connecting");
  expect(next(INITIAL, { type: "synced" })).toEqual(LIVE);
});

test("before the first answer it stays connecting, and counts", () => {
  const once = next(INITIAL, { type: "failed" });
  expect(next(once, { type: "failed" })).toEqual({ phase: "connecting", failures: 2 });
});

test("a lost stream reconnects and becomes live again", () => {
  const lost = next(LIVE, { type: "failed" });
  expect(lost).toEqual({ phase: "reconnecting", failures: 1 });
  expect(next(lost, { type: "failed" })).toEqual({ phase: "reconnecting", failures: 2 });
  expect(next(lost, { type: "synced" })).toEqual(LIVE);
});

test("a refusal ends it, late signals do not revive it, a person does", () => {
  const ended = next(LIVE, { type: "refused", status: 403 });
  expect(ended).toEqual({ phase: "ended", status: 403 });
  expect(next(ended, { type: "failed" })).toBe(ended);
  expect(next(ended, { type: "synced" })).toBe(ended);
  expect(next(ended, { type: "started" })).toEqual(INITIAL);
});

test("only the statuses of the protocol are final", () => {
  expect([204, 400, 401, 403].every(isFinal)).toBe(true);
  expect([200, 404, 408, 429, 500, 502, 503].some(isFinal)).toBe(false);
});

test("backoff doubles up to its limit, with full jitter", () => {
  expect(backoffMs(1, 0)).toBe(250);
  expect(backoffMs(1, 1)).toBe(1_000);
  expect(backoffMs(3, 1)).toBe(4_000);
  expect(backoffMs(50, 1)).toBe(30_000);
  expect(backoffMs(0, 0.5)).toBeGreaterThan(0);
});

test("every phase has words of its own", () => {
  const phases: Connection[] = [
    INITIAL,
    LIVE,
    { phase: "reconnecting", failures: 1 },
    { phase: "ended", status: 401 },
  ];
  expect(new Set(phases.map(describe)).size).toBe(phases.length);
});
