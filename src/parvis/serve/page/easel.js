// The canvas of the editor: a picture to paint on with a brush, or to move about in a larger frame. By hand or by keys.

import { cell } from "./board.js";
import { announce, h } from "./dom.js";
import { Frame } from "./frame.js";
import { Mask } from "./mask.js";

/** @typedef {"brush" | "eraser" | "frame"} Mode */

/** The middle of a token near the middle. @param {number} pixels @param {number} tokens */
const middle = (pixels, tokens) => ((Math.floor(tokens / 2) + 0.5) * pixels) / tokens;

export class Easel {
  /**
   * @param {HTMLCanvasElement} picture at the model's size @param {{width: number, height: number}} grid
   * @param {() => void} changed
   */
  constructor(picture, grid, changed) {
    this.picture = picture;
    this.grid = grid;
    this.changed = changed;
    this.mask = new Mask(picture.width, picture.height);
    this.frame = new Frame(picture.width, picture.height);
    /** @type {Mode} */
    this.mode = "brush";
    this.size = picture.width / 6;
    // arrow keys go from the middle of a token to that of the next
    this.cursor = { x: middle(picture.width, grid.width), y: middle(picture.height, grid.height) };
    /** @type {{x: number, y: number} | null} */
    this.last = null;
    this.under = false; // the pointer
    this.canvas = h("canvas.easel", {
      tabindex: "0",
      role: "application",
      "aria-label": "Picture to edit. Arrow keys move, space paints.",
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      onpointerdown: (/** @type {PointerEvent} */ event) => this.#down(event),
      onpointerenter: () => this.#hover(true),
      onpointerleave: () => this.#hover(false),
      onpointermove: (/** @type {PointerEvent} */ event) => this.#move(event),
      onpointerup: () => this.#up(),
      onpointercancel: () => this.#up(),
      onfocus: () => this.paint(),
      onblur: () => this.paint(),
    });
    this.canvas.style.aspectRatio = `${picture.width} / ${picture.height}`;
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  /** Pixels of the picture that the canvas shows across. */
  get #across() {
    return this.mode === "frame" ? this.frame.outer.wide : this.picture.width;
  }

  /** @param {PointerEvent} event */
  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.#across / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  /** @param {boolean} under */
  #hover(under) {
    this.under = under;
    this.paint();
  }

  /** @param {PointerEvent} event */
  #down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.last = this.#at(event);
    if (this.mode === "frame") return;
    this.mask.remember();
    this.#stroke(this.last, this.last);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const at = this.#at(event);
    if (this.mode !== "frame") this.cursor = at;
    if (this.last && this.mode === "frame") this.frame.moveTo(this.frame.x + at.x - this.last.x, this.frame.y + at.y - this.last.y);
    else if (this.last) this.#stroke(this.last, at);
    if (this.last) this.last = at;
    this.paint();
  }

  #up() {
    if (this.last) this.changed();
    this.last = null;
  }

  /** @param {{x: number, y: number}} from @param {{x: number, y: number}} to */
  #stroke(from, to) {
    this.mask.stroke(from, to, this.size, this.mode === "eraser");
    this.paint();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = this.picture.width / this.grid.width;
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const move = moves[event.key];
    if (move && this.mode === "frame") this.frame.moveTo(this.frame.x + move[0], this.frame.y + move[1]);
    else if (move) this.#walk(move, event.shiftKey);
    else if (event.key === " " && this.mode !== "frame") this.#dab();
    else if (event.key === "[" || event.key === "]") this.size *= event.key === "]" ? 1.25 : 0.8;
    else return;
    event.preventDefault();
    this.paint();
    this.changed();
  }

  /** @param {[number, number]} move @param {boolean} painting */
  #walk([x, y], painting) {
    const inside = (/** @type {number} */ at, /** @type {number} */ most) => Math.min(most, Math.max(0, at));
    const before = this.cursor;
    this.cursor = { x: inside(before.x + x, this.picture.width), y: inside(before.y + y, this.picture.height) };
    if (painting) this.#dab(before);
  }

  /** @param {{x: number, y: number}} [from] */
  #dab(from = this.cursor) {
    this.mask.remember();
    this.#stroke(from, this.cursor);
    announce(`${this.mask.tokens(this.grid).size} of ${this.grid.width * this.grid.height} tokens are drawn anew`);
  }

  /** Draws everything again. */
  paint() {
    const { canvas, picture } = this;
    const wide = Math.round((canvas.clientWidth || 384) * devicePixelRatio);
    const high = Math.round((wide * picture.height) / picture.width);
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, wide, high);
    if (this.mode === "frame") this.#framed(context, wide / this.frame.outer.wide);
    else this.#painted(context, wide / picture.width);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} scale */
  #framed(context, scale) {
    const { x, y, wide, high } = this.frame;
    const accent = getComputedStyle(this.canvas).getPropertyValue("--first");
    context.drawImage(this.picture, x * scale, y * scale, wide * scale, high * scale);
    context.strokeStyle = accent;
    context.lineWidth = 2 * devicePixelRatio;
    context.strokeRect(x * scale, y * scale, wide * scale, high * scale);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} scale */
  #painted(context, scale) {
    const style = getComputedStyle(this.canvas);
    const [first, last] = [style.getPropertyValue("--first"), style.getPropertyValue("--last")];
    const [wide, high] = [this.picture.width * scale, this.picture.height * scale];
    context.drawImage(this.picture, 0, 0, wide, high);
    context.globalAlpha = 0.55;
    context.fillStyle = first;
    for (const at of this.mask.tokens(this.grid)) {
      const [x, y, w, tall] = cell(at, this.grid, wide, high);
      context.fillRect(x + 1, y + 1, w - 2, tall - 2);
    }
    context.globalAlpha = 0.35;
    context.drawImage(this.mask.canvas, 0, 0, wide, high);
    context.globalAlpha = 1;
    if (!this.under && document.activeElement !== this.canvas) return;
    const ring = (/** @type {string} */ colour, /** @type {number} */ line) => {
      context.strokeStyle = colour;
      context.lineWidth = line * devicePixelRatio;
      context.beginPath();
      context.arc(this.cursor.x * scale, this.cursor.y * scale, (this.size / 2) * scale, 0, 2 * Math.PI);
      context.stroke();
    };
    ring("#000", 3);
    ring(this.mode === "eraser" ? "#fff" : last, 1.5);
  }
}
