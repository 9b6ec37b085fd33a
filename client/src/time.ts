import { el } from "./dom";

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** The hour today, the day before that; the exact moment is in the tooltip. */
export function timeElement(timestamp: string): HTMLTimeElement {
  const made = el("time");
  setTime(made, timestamp);
  return made;
}

export function setTime(element: HTMLTimeElement, timestamp: string): void {
  const moment = new Date(timestamp);
  const isToday = moment.toDateString() === new Date().toDateString();
  element.dateTime = timestamp;
  element.title = timestamp;
  element.textContent = (isToday ? CLOCK : DAY).format(moment);
}
