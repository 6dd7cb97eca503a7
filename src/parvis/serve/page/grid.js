// X/Y: a picture for every pair of values of two settings, all else equal.

import { Card } from "./card.js";
import { byId, complain, counted, h, reveal, tool } from "./dom.js";
import { waitingBoard } from "./empty.js";
import { asPng, save } from "./files.js";
import { perform } from "./jobs.js";
import { axesOf } from "./axes.js";
import { fieldsOf, summary, titleOf } from "./params.js";
import { gridOf, Picture } from "./picture.js";
import { playOnly } from "./replay.js";
import { model, modelOf, set, state, takeSeed } from "./state.js";

const MOST = 100;
const TOGETHER = 3;

/** @type {import("./main.js").View} */
export const gridding = {
  says: () => [state.grid.x, state.grid.y].some((axis) => axis === "prompt" || axis === "classLabel"),
  button() {
    try {
      const { xs, ys } = axes();
      return `Draw ${counted(xs.length * ys.length, "picture")}`;
    } catch {
      return "Draw the grid";
    }
  },
  open() {
    fit();
    const empty = byId("grid-empty");
    if (!byId("gridded").childElementCount) {
      const about = h("p", null, "Columns vary one setting, rows another. All pictures have the same seed, unless that is what varies.");
      empty.replaceChildren(waitingBoard(model().x_grid.scales), h("div", null, h("h2", null, "Two settings, every pair"), about));
    }
    const choices = () => Object.entries(axesOf()).map(([name, { label }]) => h("option", { value: name }, label));
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
    const laid = table(cards, { x, xs, y, ys });
    const all = cards.flat();
    // as they are called now: the model may be another by the time they are saved
    const [columns, lines] = [xs.map((value) => shownAs(x, value)), ys.map((value) => shownAs(y, value))];
    const sheet = async () => save(await asPng(sheetOf(cards, columns, lines)), "grid.png");
    const fields = all[0].picture.fields;
    const varies = (/** @type {string} */ axis) => x === axis || y === axis;
    const heading = varies("prompt") || varies("classLabel") ? `${axesOf()[y].label} and ${axesOf()[x].label.toLowerCase()}` : titleOf(fields);
    const told = [varies("model") ? "" : fields.model, varies("seed") ? "" : `seed ${seed}`].filter(Boolean).join(" · ");
    byId("grid-empty").hidden = true;
    const run = h(
      "section.run",
      { "aria-label": "Grid" },
      h("header", null, h("h2", null, heading), h("p.summary", null, told), tool("play", "Replay all side by side", () => playOnly(all)), tool("download", "Save the grid as one PNG", () => sheet().catch((error) => complain(String(error))))),
      h("div.wide", { tabindex: "0", role: "region", "aria-label": "The grid, scrolls sideways" }, laid),
    );
    byId("gridded").replaceChildren(run);
    reveal(run);
    return perform(all.map(({ picture }) => ({ fields: picture.fields, files: null, pictures: [picture] })), signal, TOGETHER);
  },
};

/** Listens to what is chosen; called once. */
export function openGrid() {
  for (const name of ["xs", "ys"]) {
    byId(`grid-${name}`).addEventListener("input", (/** @type {any} */ event) => set({ grid: { ...state.grid, [name]: event.target.value } }));
  }
  for (const name of ["x", "y"]) {
    byId(`grid-${name}`).addEventListener("change", (/** @type {any} */ event) => {
      const axis = event.target.value;
      set({ grid: { ...state.grid, [name]: axis, [`${name}s`]: axesOf()[axis].begin() } });
      byId(`grid-${name}s`).value = state.grid[/** @type {"xs" | "ys"} */ (`${name}s`)];
    });
  }
}

/** Axes that mean nothing to the model are replaced, values that it cannot have as well. */
function fit() {
  const axes = axesOf();
  const grid = { ...state.grid };
  for (const [axis, values, other] of /** @type {["x" | "y", "xs" | "ys", "x" | "y"][]} */ ([["x", "xs", "y"], ["y", "ys", "x"]])) {
    const known = grid[axis] in axes;
    if (!known) grid[axis] = Object.keys(axes).find((name) => name !== grid[other] && name !== "steps") ?? "seed";
    if (!known || (!["seed", "prompt"].includes(grid[axis]) && !readable(axes[grid[axis]], grid[values]))) grid[values] = axes[grid[axis]].begin();
  }
  if (JSON.stringify(grid) !== JSON.stringify(state.grid)) set({ grid });
}

/** @param {import("./axes.js").Axis} axis @param {string} text */
function readable(axis, text) {
  try {
    return axis.read(text).length > 0;
  } catch {
    return false;
  }
}

/** What is typed, read. Throws what cannot be read, in words. */
function axes() {
  const { x, xs, y, ys } = state.grid;
  const read = (/** @type {string} */ name, /** @type {string} */ text) => {
    const axis = axesOf()[name];
    if (!axis) throw new Error("Choose what columns and rows vary");
    try {
      return axis.read(text);
    } catch (error) {
      throw new Error(`${axis.label}: ${/** @type {Error} */ (error).message}`);
    }
  };
  return { x, xs: read(x, xs), y, ys: read(y, ys) };
}

/** @param {Record<string, any>} settings */
function cardOf(settings) {
  const fields = fieldsOf(settings);
  return new Card(new Picture(gridOf(modelOf(fields.model) ?? model()), fields), { small: true, label: `${titleOf(fields)}, ${summary(fields)}` });
}

/** @param {Card[][]} cards @param {{x: string, xs: any[], y: string, ys: any[]}} axes */
function table(cards, { x, xs, y, ys }) {
  const name = (/** @type {string} */ axis) => axesOf()[axis].label;
  const top = h("tr", null, h("th.corner", null, `${name(y)} \\ ${name(x)}`), ...xs.map((value) => h("th", { scope: "col" }, shownAs(x, value))));
  const rows = cards.map((row, i) => h("tr", null, h("th", { scope: "row" }, shownAs(y, ys[i])), ...row.map((card) => h("td", null, card.element))));
  return h("table.xy", null, h("thead", null, top), h("tbody", null, ...rows));
}

/** @param {string} axis @param {any} value */
const shownAs = (axis, value) => axesOf()[axis]?.shown?.(value) ?? String(value);

/** All pictures of a grid on one sheet. @param {Card[][]} cards @param {string[]} xs @param {string[]} ys */
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
  xs.forEach((value, j) => context.fillText(value, left + j * (tile + gap), top - 16, tile));
  cards.forEach((row, i) => {
    context.fillText(ys[i], 12, top + i * (tile + gap) + tile / 2, left - 24);
    row.forEach(({ picture }, j) => {
      if (picture.image) context.drawImage(picture.image, left + j * (tile + gap), top + i * (tile + gap), tile, tile);
    });
  });
  return canvas;
}
