// What was drawn before, with its settings, from the browser's own store.

import { Card } from "./card.js";
import { byId, complain, counted, h, icon } from "./dom.js";
import { waitingBoard } from "./empty.js";
import { choose } from "./panel.js";
import { settingsOf, summary, titleOf } from "./params.js";
import { Picture } from "./picture.js";
import { modelOf } from "./state.js";
import { changes, forget, forgetAll, kept } from "./store.js";

/** @type {string[]} addresses of pictures that are shown now */
let addresses = [];

/** @type {import("./main.js").View} */
export const looking = {
  button: () => null,
  open: () => void list(),
  run: async () => null,
};

/** Listens; called once. */
export function openHistory() {
  byId("history-find").addEventListener("input", list);
  byId("history-clear").addEventListener("click", () => byId("sure").showModal());
  byId("sure").addEventListener("close", () => byId("sure").returnValue === "yes" && forgetAll());
  changes.addEventListener("change", () => byId("view-history").hidden || list());
}

async function list() {
  const all = await kept();
  const wanted = byId("history-find").value.trim().toLowerCase();
  const found = all.filter((one) => `${titleOf(one.fields)} ${summary(one.fields)}`.toLowerCase().includes(wanted));
  for (const address of addresses) URL.revokeObjectURL(address);
  addresses = [];
  byId("history-count").textContent = wanted ? `${found.length} of ${counted(all.length, "picture")}` : counted(all.length, "picture");
  byId("history-clear").disabled = !all.length;
  byId("gallery").replaceChildren(...found.map(tile));
  const empty = byId("history-empty");
  empty.hidden = found.length > 0;
  const [head, text] = all.length ? ["No match", "Nothing kept matches these words."] : ["Nothing drawn yet", "Pictures and their settings are kept here, in this browser only."];
  empty.replaceChildren(waitingBoard(), h("div", null, h("h2", null, head), h("p", null, text)));
}

/** @param {import("./store.js").Kept} one */
function tile(one) {
  const address = URL.createObjectURL(/** @type {Blob} */ (one.blob));
  addresses.push(address);
  const title = titleOf(one.fields);
  const image = h("img", { src: address, alt: "", width: one.grid.width * 8, height: one.grid.height * 8, loading: "lazy" });
  const open = () => detail(one).catch((error) => complain(`This picture cannot be shown: ${error}`));
  return h("li", null, h("button.tile", { type: "button", onclick: open, "aria-label": `${title}, ${summary(one.fields)}` }, image, h("span", null, title), h("small", null, `${counted(one.pass, "pass", "passes")} · seed ${one.fields.seed}`)));
}

/** One kept picture, large, with all that can be done with it. @param {import("./store.js").Kept} one */
async function detail(one) {
  const dialog = byId("detail");
  const picture = await Picture.from(one);
  if (one.edited) picture.files = { image: /** @type {Blob} */ (one.blob) };
  const card = new Card(picture);
  const served = modelOf(one.fields.model);
  const use = () => (dialog.close(), served && choose(served, settingsOf(one.fields)));
  const away = async () => (dialog.close(), await forget(one.id));
  const when = new Date(one.at).toLocaleString();
  dialog.replaceChildren(
    h("header", null, h("h2", null, titleOf(one.fields)), h("button.tool", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))),
    card.element,
    h("p.summary", null, `${summary(one.fields)} · ${when}`),
    one.note ? h("p.summary", null, one.note) : "",
    served ? "" : h("p.summary.wrong", null, `${one.fields.model} is not served here now: its settings cannot be used.`),
    h("div.buttons", null, h("button", { type: "button", onclick: use, disabled: !served }, "Use these settings"), h("button", { type: "button", onclick: away }, "Delete")),
  );
  dialog.showModal();
}
