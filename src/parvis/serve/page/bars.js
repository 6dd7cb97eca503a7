// The steps of a picture as bars, each as high as it wrote positions: progress while it is drawn, a scrubber after it.
// A step is a pass; where a step takes several passes, a group; in next-scale models, a scale.

import { h } from "./dom.js";
import { colour, share } from "./ramp.js";

/** What a step of a picture is called. @param {import("./picture.js").Picture} picture */
export const unitOf = (picture) => (picture.scales ? "scale" : picture.often === 1 ? "pass" : "group");

/** A slider over the steps of one picture. */
export class Bars {
  /**
   * @param {import("./picture.js").Picture} picture @param {(step: number) => void} onscrub
   */
  constructor(picture, onscrub) {
    this.picture = picture;
    this.onscrub = onscrub;
    this.at = 0;
    this.canvas = h("canvas.bars", {
      role: "slider",
      tabindex: "0",
      "aria-valuemin": "0",
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      onpointerdown: (/** @type {PointerEvent} */ event) => this.#press(event),
      onpointermove: (/** @type {PointerEvent} */ event) => {
        if (event.buttons && this.picture.over) this.#scrub(this.#stepAt(event));
      },
    });
  }

  /** Shows the steps up to `at`. @param {number} at */
  show(at) {
    this.at = at;
    const sizes = this.picture.sizes;
    const count = sizes.length;
    this.canvas.setAttribute("aria-label", `${unitOf(this.picture).replace(/^./, (letter) => letter.toUpperCase())} shown`);
    this.canvas.setAttribute("aria-valuemax", String(count));
    this.canvas.setAttribute("aria-valuenow", String(at));
    const wrote = at > 0 ? `, ${sizes[at - 1]} written` : "";
    this.canvas.setAttribute("aria-valuetext", `after ${unitOf(this.picture)} ${at} of ${count}${wrote}`);
    this.#draw(sizes);
  }

  /** @param {number[]} sizes */
  #draw(sizes) {
    const { canvas } = this;
    canvas.width = Math.round((canvas.clientWidth || 256) * devicePixelRatio);
    canvas.height = Math.round((canvas.clientHeight || 40) * devicePixelRatio);
    const context = canvas.getContext("2d");
    const slot = canvas.width / Math.max(1, sizes.length);
    const gap = slot > 5 * devicePixelRatio ? Math.round(devicePixelRatio * 2) : slot > 3 ? 1 : 0;
    const { grid, over, scales, share: begun } = this.picture;
    const usual = over || scales ? 1 : (1.9 * grid.tokens) / Math.max(1, sizes.length);
    const most = Math.max(usual, ...sizes);
    const least = 3 * devicePixelRatio;
    sizes.forEach((size, k) => {
      const x = Math.round(k * slot);
      const wide = Math.max(1, Math.round((k + 1) * slot) - x - gap);
      const high = Math.round(least + (canvas.height - least) * (size / most));
      context.fillStyle = colour(share(k + 1, sizes.length), k < this.at ? 1 : 0.22);
      context.fillRect(x, canvas.height - high, wide, high);
      if (k !== this.at || !begun) return;
      context.fillStyle = colour(share(k + 1, sizes.length));
      context.fillRect(x, canvas.height - least, Math.round(wide * begun), least);
    });
  }

  /** @param {PointerEvent} event */
  #stepAt(event) {
    const count = this.picture.sizes.length;
    const box = this.canvas.getBoundingClientRect();
    return Math.min(count, Math.max(0, Math.ceil(((event.clientX - box.left) / box.width) * count)));
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (!this.picture.over) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#scrub(this.#stepAt(event));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const count = this.picture.sizes.length;
    /** @type {Record<string, number>} */
    const moves = {
      ArrowLeft: this.at - 1,
      ArrowDown: this.at - 1,
      ArrowRight: this.at + 1,
      ArrowUp: this.at + 1,
      Home: 0,
      End: count,
    };
    if (!(event.key in moves) || !this.picture.over) return;
    event.preventDefault();
    this.#scrub(Math.min(count, Math.max(0, moves[event.key])));
  }

  /** @param {number} step */
  #scrub(step) {
    this.show(step);
    this.onscrub(step);
  }
}
