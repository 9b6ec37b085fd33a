import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const client = fileURLToPath(new URL("../..", import.meta.url));

const OWN_FOLDERS = ["src", "test", "demo", "scripts"];
const LINES_MAX = 300;

/** Doors through which stored bytes could become markup or code. */
const FORBIDDEN =
  /\b(innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|setHTMLUnsafe|srcdoc|DOMParser)\b|document\.write|\beval\(|new Function\(/;

function files(folder: string): string[] {
  return readdirSync(join(client, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

test("stored bytes reach the page as text only", () => {
  const built = existsSync(join(client, "dist")) ? files("dist") : [];
  for (const file of [...files("src"), ...built, join(client, "index.html")]) {
    expect(readFileSync(file, "utf8").match(FORBIDDEN)?.[0], file).toBeUndefined();
  }
});

test("the page has nothing inline, so that its policy holds", () => {
  const html = readFileSync(join(client, "index.html"), "utf8");
  expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/i);
  expect(html).not.toMatch(/(src|href)="(?!\.\/)/);
});

test("the built page is the four files that the binary embeds", () => {
  expect(readdirSync(join(client, "dist")).sort()).toEqual([
    "icon.svg",
    "index.html",
    "page.css",
    "page.js",
  ]);
});

test("files stay small", () => {
  for (const file of OWN_FOLDERS.flatMap(files)) {
    expect(readFileSync(file, "utf8").split("\n").length, file).toBeLessThanOrEqual(LINES_MAX);
  }
});

test("the lockfile names no host to download from", () => {
  expect(readFileSync(join(client, "package-lock.json"), "utf8")).not.toMatch(/"resolved"/);
});
