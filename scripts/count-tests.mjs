/**
 * Reads the closing lines of one test runner and prints "<passed> <failed>".
 * A runner that failed without a failed test, such as a build error, counts as one failure.
 */
import { readFileSync } from "node:fs";

const lines = readFileSync(0, "utf8");
const runnerFailed = process.argv[2] !== "0";

/** @param {RegExp} pattern */
const sum = (pattern) =>
  [...lines.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0);

const passed = sum(/(\d+) passed/g);
const failed = sum(/(\d+) (?:failed|timed out|exec failed)/g);
console.log(passed, failed === 0 && runnerFailed ? 1 : failed);
