// A picture on the page: the board, the passes under it, what became of it, and what can be done with it.

import { paint } from "./board.js";
import { Bars, unitOf } from "./bars.js";
import { announce, counted, h, icon, seconds, tool } from "./dom.js";
import { saveJson, savePng } from "./files.js";
import { titleOf } from "./params.js";
import { playOnly } from "./replay.js";
import { sizeOf } from "./scales.js";
import { state } from "./state.js";

/**
 * @typedef {import("./picture.js").Picture} Picture
 * @typedef {{again: (picture: Picture) => void, vary: (picture: Picture) => void, edit: (picture: Picture) => void,
 *   whyNotEdit: (picture: Picture) => string | null, canDraw: (picture: Picture) => boolean}} Deeds what other parts of the page do with a picture
 */

/** @type {Deeds} */
let deeds = { again() {}, vary() {}, edit() {}, whyNotEdit: () => null, canDraw: () => false };

/** @param {Deeds} given */
export function setDeeds(given) {
  deeds = given;
}

const size = new ResizeObserver((entries) => {
  for (const entry of entries) entry.target.dispatchEvent(new Event("fit"));
});

/** Shows a picture while it is drawn and ever after. */
export class Card {
  /** @param {Picture} picture @param {{small?: boolean, label?: string}} [how] small: without its tools */
  constructor(picture, how = {}) {
    this.picture = picture;
    this.label = how.label ?? `“${titleOf(picture.fields)}”, seed ${picture.fields.seed}`;
    this.board = h("canvas.board", { role: "img" });
    this.bars = new Bars(picture, (pass) => this.show(pass, true));
    this.state = h("p.state");
    this.tools = h("div.tools");
    this.element = h("figure.card", { class: how.small ? "card small" : "card" }, h("div.frame", null, this.board), this.bars.canvas);
    this.element.append(h("figcaption", null, this.state, this.tools));
    this.element.style.setProperty("--ratio", `${picture.grid.width} / ${picture.grid.height}`);
    this.small = how.small ?? false;
    picture.addEventListener("change", () => this.update());
    this.board.addEventListener("fit", () => this.show(this.bars.at, !picture.over));
    size.observe(this.board);
    this.update();
  }

  get steps() {
    return this.picture.sizes.length;
  }

  /** @param {number} step shown up to this one @param {boolean} ring whether what it wrote is marked */
  show(step, ring) {
    const { picture } = this;
    paint(this.board, picture, { upto: step, ring: ring && step > 0, overlay: state.overlay });
    this.bars.show(step);
    this.state.replaceChildren(...(picture.over && step < picture.step ? this.#back(step) : this.#line()));
  }

  /** Shows what became of the picture. */
  update() {
    const { picture } = this;
    this.element.dataset.status = picture.status;
    this.board.setAttribute("aria-label", `${this.label}: ${this.#told()}`);
    this.bars.canvas.setAttribute("aria-disabled", String(!picture.over));
    if (picture.over && !this.tools.childElementCount && picture.image) this.tools.append(...this.#deeds());
    this.show(picture.step, !picture.over);
    if (picture.status === "done") announce(`${this.label}: ${this.#told()}`);
  }

  #told() {
    const { picture } = this;
    const passes = counted(picture.pass, "pass", "passes");
    if (picture.status === "done") return `done in ${passes} and ${seconds(picture.seconds)}`;
    if (picture.status === "drawing") return `pass ${picture.pass}${picture.total ? ` of ${picture.total}` : ""}`;
    if (picture.status === "cancelled") return picture.pass ? `cancelled after ${passes}` : "cancelled";
    return picture.status === "failed" ? (picture.error?.message ?? "failed") : "waiting";
  }

  #line() {
    const { picture } = this;
    if (picture.status === "waiting") return [h("span", null, picture.held ? "the server is full: waiting for room" : "waiting")];
    if (picture.status === "drawing") return this.#drawing();
    if (picture.status !== "done") return [icon(picture.status === "failed" ? "warning" : "close"), this.#told()];
    const words = picture.pass === 1 ? " pass" : " passes";
    return [number(picture.pass), words, h("span.dot"), number(picture.seconds.toFixed(2)), " s"];
  }

  /** How far it is. */
  #drawing() {
    const { picture } = this;
    const { scales, step, steps, pass, total } = picture;
    if (scales && step) return ["scale ", number(step), ` of ${steps}`, h("span.dot"), sizeOf(scales[step - 1])];
    const passes = [number(pass), ` of ${total ?? "?"} passes`];
    if (picture.often === 1 || !steps || steps < 2) return passes;
    return ["group ", number(Math.min(step + 1, steps)), ` of ${steps}`, h("span.dot"), ...passes];
  }

  /** What is seen of a finished picture whose steps are gone back. @param {number} step */
  #back(step) {
    const { picture } = this;
    if (!step) return ["before the first ", unitOf(picture)];
    const wrote = picture.scales ? sizeOf(picture.scales[step - 1]) : `${picture.sizes[step - 1]} written`;
    return [`${unitOf(picture)} `, number(step), ` of ${this.steps}`, h("span.dot"), wrote];
  }

  #deeds() {
    const { picture } = this;
    const play = tool("play", picture.scales ? "Replay the scales" : "Replay the order", () => playOnly([this]));
    if (this.small) return [play, tool("download", "Save PNG with its settings", () => savePng(picture), { disabled: !picture.blob })];
    const whole = { disabled: !picture.blob };
    const why = deeds.whyNotEdit(picture);
    const editable = (/** @type {string} */ name) => ({ disabled: !picture.blob || why !== null, title: why ? `${name}: ${why}` : name });
    return [
      play,
      tool("again", "Draw again with these settings", () => deeds.again(picture), { disabled: picture.edited || !deeds.canDraw(picture) }),
      ...(picture.scales ? [] : [tool("vary", "Variation", () => deeds.vary(picture), editable("Variation")), tool("brush", "Edit", () => deeds.edit(picture), editable("Edit"))]),
      tool("download", "Save PNG with its settings", () => savePng(picture), whole),
      tool("json", "Save settings as JSON", () => saveJson(picture), whole),
    ];
  }
}

/** Paints every picture on the page again, as when the overlay is switched. */
export function repaint() {
  for (const board of document.querySelectorAll(".board")) board.dispatchEvent(new Event("fit"));
}

/** @param {string | number} value */
const number = (value) => h("b.figure", null, value);
