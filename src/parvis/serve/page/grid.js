// X/Y: a picture for every pair of values of two settings, all else equal.

import { Card } from "./card.js";
import { byId, complain, counted, h, tool } from "./dom.js";
import { waitingBoard } from "./empty.js";
import { asPng, save } from "./files.js";
import { perform } from "./jobs.js";
import { fixesSteps, orderLabel } from "./orders.js";
import { AXES, fieldsOf, summary, titleOf } from "./params.js";
import { Picture } from "./picture.js";
import { playOnly } from "./replay.js";
import { model, set, state, takeSeed } from "./state.js";

const MOST = 100;
const TOGETHER = 3;

/** @typedef {keyof typeof AXES} Axis */

/** @type {import("./main.js").View} */
export const gridding = {
  button() {
    try {
      const { xs, ys } = axes();
      return `Draw ${counted(xs.length * ys.length, "picture")}`;
    } catch {
      return "Draw the grid";
    }
  },
  open() {
    const empty = byId("grid-empty");
    if (!empty.childElementCount) empty.append(waitingBoard(), h("p", null, "Columns vary one setting, rows another. All pictures have the same seed, unless that is what varies."));
    const choices = () => Object.entries(AXES).map(([name, { label }]) => h("option", { value: name }, label));
    for (const name of ["x", "y"]) byId(`grid-${name}`).replaceChildren(...choices());
    for (const name of /** @type {const} */ (["x", "xs", "y", "ys"])) byId(`grid-${name}`).value = state.grid[name];
  },
  missing() {
    try {
      const { x, xs, y, ys } = axes();
      if (x === y) return "Choose two different settings for columns and rows.";
      return xs.length * ys.length > MOST ? `A grid has at most ${MOST} pictures.` : null;
    } catch (error) {
      return `${/** @type {Error} */ (error).message}.`;
    }
  },
  async run(signal) {
    const { x, xs, y, ys } = axes();
    const seed = takeSeed();
    const cards = ys.map((down) => xs.map((across) => cardOf({ seed, [x]: across, [y]: down })));
    const shown = table(cards, { x, xs, y, ys });
    const all = cards.flat();
    const sheet = async () => save(await asPng(sheetOf(cards, xs, ys)), "grid.png");
    const fields = all[0].picture.fields;
    byId("grid-empty").hidden = true;
    byId("gridded").replaceChildren(
      h(
        "section.run",
        { "aria-label": "Grid" },
        h("header", null, h("h2", null, titleOf(fields)), h("p.summary", null, `${fields.model} · seed ${seed}`), tool("play", "Replay all side by side", () => playOnly(all)), tool("download", "Save the grid as one PNG", () => sheet().catch((error) => complain(String(error))))),
        h("div.wide", { tabindex: "0", role: "region", "aria-label": "The grid, scrolls sideways" }, shown),
      ),
    );
    return perform(all.map(({ picture }) => ({ fields: picture.fields, files: null, pictures: [picture] })), signal, TOGETHER);
  },
};

/** Listens to what is chosen; called once. */
export function openGrid() {
  for (const name of ["x", "xs", "y", "ys"]) {
    byId(`grid-${name}`).addEventListener("input", (/** @type {any} */ event) => set({ grid: { ...state.grid, [name]: event.target.value } }));
  }
}

/** What is typed, read. Throws what cannot be read, in words. */
function axes() {
  const { x, xs, y, ys } = state.grid;
  const read = (/** @type {string} */ name, /** @type {string} */ text) => {
    const axis = AXES[/** @type {Axis} */ (name)];
    try {
      return /** @type {any[]} */ (axis.read(text));
    } catch (error) {
      throw new Error(`${axis.label}: ${/** @type {Error} */ (error).message}`);
    }
  };
  return { x, xs: read(x, xs), y, ys: read(y, ys) };
}

/** @param {Record<string, any>} settings */
function cardOf(settings) {
  const fixed = "order" in settings && fixesSteps(settings.order);
  const fields = fieldsOf(fixed ? { ...settings, steps: null } : settings);
  return new Card(new Picture(model().x_grid, fields), { small: true, label: `${titleOf(fields)}, ${summary(fields)}` });
}

/** @param {Card[][]} cards @param {{x: string, xs: any[], y: string, ys: any[]}} axes */
function table(cards, { x, xs, y, ys }) {
  const name = (/** @type {string} */ axis) => AXES[/** @type {Axis} */ (axis)].label;
  const top = h("tr", null, h("th.corner", null, `${name(y)} \\ ${name(x)}`), ...xs.map((value) => h("th", { scope: "col" }, shownAs(value))));
  const rows = cards.map((row, i) => h("tr", null, h("th", { scope: "row" }, shownAs(ys[i])), ...row.map((card) => h("td", null, card.element))));
  return h("table.xy", null, h("thead", null, top), h("tbody", null, ...rows));
}

/** @param {any} value */
const shownAs = (value) => (value === null || Number.isNaN(Number(value)) ? orderLabel(value) : String(value));

/** All pictures of a grid on one sheet. @param {Card[][]} cards @param {any[]} xs @param {any[]} ys */
function sheetOf(cards, xs, ys) {
  const [tile, gap, left, top] = [192, 12, 120, 48];
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: left + xs.length * (tile + gap), height: top + ys.length * (tile + gap) });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#1c1633";
  context.font = "16px ui-sans-serif, system-ui, sans-serif";
  context.imageSmoothingEnabled = false;
  xs.forEach((value, j) => context.fillText(shownAs(value), left + j * (tile + gap), top - 16, tile));
  cards.forEach((row, i) => {
    context.fillText(shownAs(ys[i]), 12, top + i * (tile + gap) + tile / 2, left - 24);
    row.forEach(({ picture }, j) => {
      if (picture.image) context.drawImage(picture.image, left + j * (tile + gap), top + i * (tile + gap), tile, tile);
    });
  });
  return canvas;
}
