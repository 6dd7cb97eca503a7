// The first view: a run of pictures of one prompt, above it those before.

import { Card } from "./card.js";
import { byId, counted, h, reveal, tool } from "./dom.js";
import { waitingBoard } from "./empty.js";
import { perform } from "./jobs.js";
import { classCount, labelOf, named } from "./classes.js";
import { fieldsOf, summary, titleOf } from "./params.js";
import { gridOf, Picture } from "./picture.js";
import { playOnly } from "./replay.js";
import { model, modelOf, server, set, state, takeSeed } from "./state.js";
import { unknownWords } from "./words.js";

const SHOWN = 12;
const SOME = 6;
const EXAMPLES = ["red apple", "woman astronaut dark skin", "cat face with tears of joy", "ringed planet", "tulip", "blue heart"];

/** @type {import("./main.js").View} */
export const drawing = {
  button: () => `Draw ${counted(state.n, "picture")}`,
  open() {
    if (byId("runs").childElementCount) return;
    const one = model();
    byId("draw-empty").replaceChildren(waitingBoard(one.x_grid.scales), h("div", null, ...about(one), h("p.examples", null, ...examples(one))));
  },
  async run(signal) {
    const seed = takeSeed();
    return show({ ...fieldsOf({ seed, n: state.n }) }, null, signal);
  },
};

/** What the board beside it shows. @param {import("./api.js").Model} one */
function about(one) {
  if (one.x_grid.scales?.length > 1) return [h("h2", null, "A whole scale, one pass"), h("p", null, "The first pass draws the picture in one token, the next in a few more, until it is sharp: violet first, yellow last.")];
  return [h("h2", null, "Many tokens, one pass"), h("p", null, "Every square is a token of a picture. Squares of one colour are written together: violet first, yellow last.")];
}

/** Things to begin with. @param {import("./api.js").Model} one */
function examples(one) {
  if (one.x_takes === "classes") {
    const some = named(one) ? [...new Array(Math.min(SOME, classCount(one))).keys()].map((at) => labelOf(one, at)) : [];
    return some.map((label) => h("button.chip", { type: "button", onclick: () => (set({ classLabel: label }), byId("go").focus()) }, typeof label === "number" ? one.x_classes[label] : label));
  }
  const known = server.words.size ? EXAMPLES.filter((text) => !unknownWords(text, server.words).length) : [];
  return known.map((text) => h("button.chip", { type: "button", onclick: () => (set({ prompt: text }), byId("prompt").focus()) }, text));
}

/**
 * Draws one request and shows it on top of the others.
 * @param {import("./api.js").Fields} fields @param {import("./api.js").Files | null} files @param {AbortSignal} signal
 * @param {HTMLElement} [into]
 */
export function show(fields, files, signal, into = byId("runs")) {
  const grid = gridOf(modelOf(fields.model) ?? model());
  const pictures = Array.from({ length: fields.n }, (_, i) => new Picture(grid, { ...fields, n: 1, seed: fields.seed + i }, files));
  const cards = pictures.map((picture) => new Card(picture));
  const replay = tool("play", "Replay all side by side", () => playOnly(cards), { hidden: cards.length < 2 });
  const what = files ? (files.mask ? "inpainting" : fields.margins ? "outpainting" : "variation") : "";
  const header = h("header", null, h("h2", null, titleOf(fields)), h("p.summary", null, [what, summary(fields)].filter(Boolean).join(" · ")), replay);
  const run = h("section.run", { "aria-label": `Pictures of ${titleOf(fields)}` }, header, h("div.cards", { "data-count": cards.length }, ...cards.map((card) => card.element)));
  byId("draw-empty").hidden = true;
  into.prepend(run);
  while (into.children.length > SHOWN) into.lastElementChild?.remove();
  reveal(run);
  return perform([{ fields, files, pictures }], signal);
}
