/**
 * The only door to the document. Stored bytes enter it as text nodes and attribute values, never as
 * markup; test/unit/tidy.test.ts keeps every other door shut.
 */

export function required<T extends Element>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
}

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Makes these the children, in this order, and moves only what is out of place. */
export function arrange(parent: Element, children: readonly Element[]): void {
  let at = parent.firstElementChild;
  for (const child of children) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  while (at !== null) {
    const surplus = at;
    at = at.nextElementSibling;
    surplus.remove();
  }
}

/** Between two updates; more often than this nobody reads, and a layout costs milliseconds. */
const UPDATE_INTERVAL_MS = 100;

/** Runs in the next frame, once however often it was asked for: a burst is one update. */
export function batched(run: () => void): () => void {
  let isWaiting = false;
  let last = Number.NEGATIVE_INFINITY;
  const update = () => {
    isWaiting = false;
    last = performance.now();
    run();
  };
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    const rest = last + UPDATE_INTERVAL_MS - performance.now();
    if (rest <= 0) requestAnimationFrame(update);
    else setTimeout(() => requestAnimationFrame(update), rest);
  };
}

/** Long text cut for one line, never in the middle of a character. */
export function clip(text: string, max: number): string {
  if (text.length <= max) return text;
  return `${text.slice(0, max).replace(/[\uD800-\uDBFF]$/, "")}…`;
}
