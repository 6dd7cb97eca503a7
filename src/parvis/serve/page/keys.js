// Shortcuts, and the list of them.

import { byId, h } from "./dom.js";

/** @typedef {{keys: string, does: string, when?: (event: KeyboardEvent) => boolean, act: () => void}} Shortcut */

/** Whether keys go into a field just now. @param {EventTarget | null} target */
function typing(target) {
  if (!(target instanceof HTMLElement)) return false;
  return target.matches("textarea, select, input:not([type=range], [type=checkbox], [type=radio])");
}

/** @param {Shortcut[]} shortcuts single letters count only outside of fields; Ctrl+Enter and Escape everywhere */
export function listen(shortcuts) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const held = event.ctrlKey || event.metaKey;
    const name = (held ? "Ctrl+" : "") + event.key;
    const found = shortcuts.find((one) => one.keys.toLowerCase() === name.toLowerCase());
    if (!found || event.altKey || (typing(event.target) && !held && event.key !== "Escape")) return;
    event.preventDefault();
    found.act();
  });
  const more = [
    ["← →", "in the passes: one back or forth"],
    ["Space", "on the easel: paint; Shift+arrows paint a line"],
    ["[ ]", "on the easel: brush size"],
    ["Ctrl+Z", "on the easel: undo; with Shift redo"],
  ];
  const rows = [...shortcuts.map(({ keys, does }) => [keys, does]), ...more];
  byId("keys-list").replaceChildren(...rows.flatMap(([keys, does]) => [h("dt", null, h("kbd", null, keys)), h("dd", null, does)]));
}

export const showKeys = () => byId("keys").showModal();
