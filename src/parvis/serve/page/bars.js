// The passes as bars, each as high as the pass wrote positions: progress while a picture is drawn, a scrubber after it.

import { h } from "./dom.js";
import { colour, share } from "./ramp.js";

/** A slider over the passes of one picture. */
export class Bars {
  /**
   * @param {import("./picture.js").Picture} picture @param {(pass: number) => void} onscrub
   */
  constructor(picture, onscrub) {
    this.picture = picture;
    this.onscrub = onscrub;
    this.at = 0;
    this.canvas = h("canvas.bars", {
      role: "slider",
      tabindex: "0",
      "aria-label": "Pass shown",
      "aria-valuemin": "0",
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      onpointerdown: (/** @type {PointerEvent} */ event) => this.#press(event),
      onpointermove: (/** @type {PointerEvent} */ event) => {
        if (event.buttons && this.picture.over) this.#scrub(this.#passAt(event));
      },
    });
  }

  /** Shows the passes up to `at`. @param {number} at */
  show(at) {
    this.at = at;
    const sizes = this.picture.sizes;
    const count = sizes.length;
    this.canvas.setAttribute("aria-valuemax", String(count));
    this.canvas.setAttribute("aria-valuenow", String(at));
    const wrote = at > 0 ? `, ${sizes[at - 1]} written` : "";
    this.canvas.setAttribute("aria-valuetext", `after pass ${at} of ${count}${wrote}`);
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
    const { grid, over } = this.picture;
    const usual = over ? 1 : (1.9 * grid.tokens) / Math.max(1, sizes.length);
    const most = Math.max(usual, ...sizes);
    const least = 3 * devicePixelRatio;
    sizes.forEach((size, k) => {
      const x = Math.round(k * slot);
      const wide = Math.max(1, Math.round((k + 1) * slot) - x - gap);
      const high = Math.round(least + (canvas.height - least) * (size / most));
      context.fillStyle = colour(share(k + 1, sizes.length), k < this.at ? 1 : 0.22);
      context.fillRect(x, canvas.height - high, wide, high);
    });
  }

  /** @param {PointerEvent} event */
  #passAt(event) {
    const count = this.picture.sizes.length;
    const box = this.canvas.getBoundingClientRect();
    return Math.min(count, Math.max(0, Math.ceil(((event.clientX - box.left) / box.width) * count)));
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (!this.picture.over) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#scrub(this.#passAt(event));
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

  /** @param {number} pass */
  #scrub(pass) {
    this.show(pass);
    this.onscrub(pass);
  }
}
