import { required } from "./dom";

/** The views of the page; each has a tab and a panel of its name. */
const VIEWS = ["events", "relay"] as const;
export type View = (typeof VIEWS)[number];

/** No event's name holds a slash, so this part of the address names none. */
const RELAY_HASH = "#/relay";

const tab = (view: View) => required(`tab-${view}`, HTMLButtonElement);

/** Wires the tabs; `onShow` is told of each view that is shown, the first one included. */
export function wireTabs(onShow: (view: View) => void): void {
  const choose = (view: View) => {
    show(view);
    onShow(view);
  };
  for (const view of VIEWS) {
    tab(view).addEventListener("click", () => {
      history.replaceState(null, "", view === "relay" ? RELAY_HASH : location.pathname);
      choose(view);
    });
    tab(view).addEventListener("keydown", ({ key }) => {
      if (key !== "ArrowLeft" && key !== "ArrowRight") return;
      const other = VIEWS.find((each) => each !== view) ?? view;
      tab(other).click();
      tab(other).focus();
    });
  }
  choose(location.hash === RELAY_HASH ? "relay" : "events");
}

/** Whether the address names the relay, and so no event. */
export function isRelayNamed(): boolean {
  return location.hash === RELAY_HASH;
}

function show(view: View): void {
  for (const each of VIEWS) {
    tab(each).setAttribute("aria-selected", String(each === view));
    tab(each).tabIndex = each === view ? 0 : -1;
    required(`view-${each}`, HTMLElement).hidden = each !== view;
  }
}
