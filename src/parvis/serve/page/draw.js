// The first view: a run of pictures of one prompt, above it those before.

import { Card } from "./card.js";
import { byId, counted, h, tool } from "./dom.js";
import { waitingBoard } from "./empty.js";
import { perform } from "./jobs.js";
import { fieldsOf, summary, titleOf } from "./params.js";
import { Picture } from "./picture.js";
import { playOnly } from "./replay.js";
import { model, set, state, takeSeed } from "./state.js";

const SHOWN = 12;
const EXAMPLES = ["red apple", "woman astronaut dark skin", "cat face with tears of joy", "ringed planet", "tulip", "blue heart"];

/** @type {import("./main.js").View} */
export const drawing = {
  button: () => `Draw ${counted(state.n, "picture")}`,
  open() {
    const empty = byId("draw-empty");
    if (empty.childElementCount) return;
    const use = (/** @type {string} */ text) => () => (set({ prompt: text }), byId("prompt").focus());
    const words = model().x_takes === "words" ? EXAMPLES : [];
    empty.append(
      waitingBoard(),
      h(
        "div",
        null,
        h("h2", null, "Many tokens, one pass"),
        h("p", null, "Every square is a token of a picture. Squares of one colour are written together: violet first, yellow last."),
        h("p.examples", null, ...words.map((text) => h("button.chip", { type: "button", onclick: use(text) }, text))),
      ),
    );
  },
  async run(signal) {
    const seed = takeSeed();
    return show({ ...fieldsOf({ seed, n: state.n }) }, null, signal);
  },
};

/**
 * Draws one request and shows it on top of the others.
 * @param {import("./api.js").Fields} fields @param {import("./api.js").Files | null} files @param {AbortSignal} signal
 * @param {HTMLElement} [into]
 */
export function show(fields, files, signal, into = byId("runs")) {
  const pictures = Array.from({ length: fields.n }, (_, i) => new Picture(model().x_grid, { ...fields, n: 1, seed: fields.seed + i }, files));
  const cards = pictures.map((picture) => new Card(picture));
  const replay = tool("play", "Replay all side by side", () => playOnly(cards), { hidden: cards.length < 2 });
  const what = files ? (files.mask ? "inpainting" : fields.margins ? "outpainting" : "variation") : "";
  const header = h("header", null, h("h2", null, titleOf(fields)), h("p.summary", null, [what, summary(fields)].filter(Boolean).join(" · ")), replay);
  const run = h("section.run", { "aria-label": `Pictures of ${titleOf(fields)}` }, header, h("div.cards", { "data-count": cards.length }, ...cards.map((card) => card.element)));
  byId("draw-empty").hidden = true;
  into.prepend(run);
  while (into.children.length > SHOWN) into.lastElementChild?.remove();
  return perform([{ fields, files, pictures }], signal);
}
