/**
 * JSON as text. Values are shown and compared as they were stored, so nothing here re-parses a
 * number. It reads only text that JSON.parse or the server has already accepted, so it checks
 * nothing.
 */

export type Kind = "array" | "object" | "scalar";

export function kindOf(text: string): Kind {
  return text[0] === "{" ? "object" : text[0] === "[" ? "array" : "scalar";
}

/** The members of an object: decoded name, and the value's text. */
export function members(object: string): [name: string, value: string][] {
  const found: [string, string][] = [];
  let at = afterSpace(object, 1);
  while (object[at] === '"') {
    const nameEnd = endOfString(object, at);
    const start = afterSpace(object, afterSpace(object, nameEnd) + 1);
    const end = endOfValue(object, start);
    found.push([JSON.parse(object.slice(at, nameEnd)), object.slice(start, end)]);
    at = afterSpace(object, afterSpace(object, end) + 1);
  }
  return found;
}

/** The texts of an array's items. */
export function items(array: string): string[] {
  const found: string[] = [];
  let at = afterSpace(array, 1);
  while (at < array.length && array[at] !== "]") {
    const end = endOfValue(array, at);
    found.push(array.slice(at, end));
    at = afterSpace(array, afterSpace(array, end) + 1);
  }
  return found;
}

export function memberText(object: string, name: string): string | undefined {
  return members(object).find(([found]) => found === name)?.[1];
}

/** The same value over several lines; strings and numbers stay as written. */
export function pretty(text: string, indent = ""): string {
  const inner = `${indent}  `;
  if (kindOf(text) === "object") {
    const lines = members(text).map(
      ([n, v]) => `${inner}${JSON.stringify(n)}: ${pretty(v, inner)}`,
    );
    return lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n${indent}}`;
  }
  if (kindOf(text) === "array") {
    const lines = items(text).map((item) => inner + pretty(item, inner));
    return lines.length === 0 ? "[]" : `[\n${lines.join(",\n")}\n${indent}]`;
  }
  return text;
}

/** One line for a table: an object without its punctuation, anything else as it is. */
export function preview(text: string): string {
  if (kindOf(text) !== "object") return text;
  const pairs = members(text).map(([name, value]) => `${name}: ${unquoted(value)}`);
  return pairs.length === 0 ? "{}" : pairs.join(", ");
}

function unquoted(text: string): string {
  return text[0] === '"' ? text.slice(1, -1) : text;
}

function afterSpace(text: string, at: number): number {
  let next = at;
  while (" \t\n\r".includes(text[next] ?? "x")) next += 1;
  return next;
}

function endOfValue(text: string, start: number): number {
  if (text[start] === '"') return endOfString(text, start);
  const isNested = text[start] === "{" || text[start] === "[";
  const stop = isNested ? /["[\]{}]/g : /[\s,\]}]/g;
  stop.lastIndex = start;
  let depth = 0;
  for (let hit = stop.exec(text); hit !== null; hit = stop.exec(text)) {
    if (!isNested) return hit.index;
    if (hit[0] === '"') stop.lastIndex = endOfString(text, hit.index);
    else depth += hit[0] === "{" || hit[0] === "[" ? 1 : -1;
    if (depth === 0) return stop.lastIndex;
  }
  return text.length;
}

function endOfString(text: string, quote: number): number {
  let end = text.indexOf('"', quote + 1);
  while (isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end + 1;
}

function isEscaped(text: string, at: number): boolean {
  let before = at;
  while (text[before - 1] === "\\") before -= 1;
  return (at - before) % 2 === 1;
}
