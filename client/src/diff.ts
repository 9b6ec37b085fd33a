import { items, kindOf, members } from "./json";

export type Change =
  | { readonly kind: "added"; readonly path: string; readonly after: string }
  | {
      readonly kind: "changed";
      readonly path: string;
      readonly before: string;
      readonly after: string;
    }
  | { readonly kind: "removed"; readonly path: string; readonly before: string };

/** What changed between two JSON texts, by path. Key order and spelling of strings do not count. */
export function diff(before: string, after: string): Change[] {
  const changes: Change[] = [];
  compare("", before, after, changes);
  return changes;
}

function compare(path: string, before: string, after: string, changes: Change[]): void {
  if (before === after) return;
  const kind = kindOf(before);
  if (kind !== kindOf(after)) changes.push({ kind: "changed", path: path || ROOT, before, after });
  else if (kind === "object") compareObjects(path, before, after, changes);
  else if (kind === "array") compareArrays(path, before, after, changes);
  else if (!isSameString(before, after)) {
    changes.push({ kind: "changed", path: path || ROOT, before, after });
  }
}

/** How the whole value is called where a path is expected. */
const ROOT = "value";

function compareObjects(path: string, before: string, after: string, changes: Change[]): void {
  const old = new Map(members(before));
  const now = new Map(members(after));
  for (const [name, was] of old) {
    const is = now.get(name);
    if (is === undefined) changes.push({ kind: "removed", path: member(path, name), before: was });
    else compare(member(path, name), was, is, changes);
  }
  for (const [name, is] of now) {
    if (!old.has(name)) changes.push({ kind: "added", path: member(path, name), after: is });
  }
}

/** Equal items at both ends are set aside first, so that one insertion reads as one insertion. */
function compareArrays(path: string, before: string, after: string, changes: Change[]): void {
  const old = items(before);
  const now = items(after);
  const shorter = Math.min(old.length, now.length);
  let head = 0;
  while (head < shorter && old[head] === now[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1;
  const oldEnd = old.length - tail;
  const nowEnd = now.length - tail;
  for (let at = head; at < Math.max(oldEnd, nowEnd); at += 1) {
    const was = at < oldEnd ? old[at] : undefined;
    const is = at < nowEnd ? now[at] : undefined;
    const item = `${path}[${at}]`;
    if (was === undefined) changes.push({ kind: "added", path: item, after: is as string });
    else if (is === undefined) changes.push({ kind: "removed", path: item, before: was });
    else compare(item, was, is, changes);
  }
}

function member(path: string, name: string): string {
  if (!/^[\p{L}_$][\p{L}\p{N}_$-]*$/u.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path === "" ? name : `${path}.${name}`;
}

function isSameString(before: string, after: string): boolean {
  return before[0] === '"' && after[0] === '"' && JSON.parse(before) === JSON.parse(after);
}
