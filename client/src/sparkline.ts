import { kindOf, members } from "./json";

export interface Series {
  /** The member's name; empty when the value itself is the number. */
  readonly name: string;
  readonly points: readonly number[];
}

/** The first number that moves over these values, oldest first; undefined when none is there. */
export function seriesOf(values: readonly string[]): Series | undefined {
  if (values.length < 2) return undefined;
  const read = values.map(numbersIn);
  const found = Array.from(read.at(-1)?.keys() ?? [])
    .map((name) => ({ name, points: read.map((at) => at.get(name)).filter(isNumber) }))
    .filter(({ points }) => points.length >= 2);
  return found.find(({ points }) => new Set(points).size > 1) ?? found[0];
}

/** A value's own number under the empty name, an object's numbers under theirs. */
function numbersIn(value: string): Map<string, number> {
  const named: [string, string][] = kindOf(value) === "object" ? members(value) : [["", value]];
  return new Map(
    named.filter(([, text]) => /^-?\d/.test(text)).map(([name, text]) => [name, Number(text)]),
  );
}

function isNumber(number: number | undefined): number is number {
  return number !== undefined && Number.isFinite(number);
}

const WIDTH = 320;
const HEIGHT = 56;
const MARGIN = 4;

export function sparkline({ name, points }: Series): SVGSVGElement {
  const low = Math.min(...points);
  const span = Math.max(...points) - low || 1;
  const x = (at: number) => MARGIN + (at / (points.length - 1)) * (WIDTH - 2 * MARGIN);
  const y = (value: number) => HEIGHT - MARGIN - ((value - low) / span) * (HEIGHT - 2 * MARGIN);
  const line = points.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
  const last = points.at(-1) ?? 0;
  const label = `${name || "value"} over ${points.length} versions, from ${points[0]} to ${last}`;
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  chart.append(
    svg("polygon", {
      points: [`${MARGIN},${HEIGHT}`, ...line, `${WIDTH - MARGIN},${HEIGHT}`].join(" "),
    }),
    svg("polyline", { points: line.join(" ") }),
    svg("circle", { cx: String(x(points.length - 1)), cy: y(last).toFixed(1), r: "3" }),
  );
  return chart;
}

function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>>,
): SVGElementTagNameMap[K] {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
