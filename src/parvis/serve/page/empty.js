// What is shown where there is nothing yet: a board that fills up in an order.

import { cell } from "./board.js";
import { calm, h } from "./dom.js";
import { colour, share } from "./ramp.js";

const SIDE = 12;
const SIZES = [1, 2, 3, 5, 7, 10, 13, 16, 19, 21, 23, 24];
const PACE = 420;

/** Positions spread evenly, by the digits of their number in base 2 and 3 (Halton). */
function spread() {
  const digit = (/** @type {number} */ n, /** @type {number} */ base) => {
    let [value, part] = [0, 1 / base];
    for (; n > 0; n = Math.floor(n / base), part /= base) value += (n % base) * part;
    return value;
  };
  /** @type {Set<number>} */
  const found = new Set();
  for (let n = 1; found.size < SIDE * SIDE && n < 9000; n++) {
    found.add(Math.floor(digit(n, 2) * SIDE) * SIDE + Math.floor(digit(n, 3) * SIDE));
  }
  return [...found];
}

/**
 * A board that writes itself, again and again while it is seen; still for those who want no motion.
 * @param {[number, number][]} [scales] of a next-scale model: then every pass writes a whole, finer grid
 */
export function waitingBoard(scales) {
  const sharpens = scales !== undefined && scales.length > 1;
  const last = sharpens ? scales.length : SIZES.length;
  const about = sharpens ? "Token grids from coarse to fine, one a pass" : "A token grid, coloured by the pass that writes each token";
  const canvas = h("canvas.waiting", { role: "img", "aria-label": about });
  const fill = (/** @type {number} */ upto) => (sharpens ? refine(canvas, scales, upto) : scatter(canvas, upto));
  let pass = last;
  const tick = () => {
    if (!canvas.isConnected) return;
    if (canvas.offsetParent) fill(Math.min(pass, last));
    pass = calm() ? last : (pass + 1) % (last + 8);
    setTimeout(tick, sharpens ? 2 * PACE : PACE);
  };
  requestAnimationFrame(tick);
  return canvas;
}

/** The canvas, empty and square. @param {HTMLCanvasElement} canvas */
function cleared(canvas) {
  const side = Math.round((canvas.clientWidth || 300) * devicePixelRatio);
  Object.assign(canvas, { width: side, height: side });
  return { side, context: /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")) };
}

/**
 * @param {CanvasRenderingContext2D} context @param {[number, number, number, number]} box @param {number} at share
 * @param {number} [gap] @param {number} [left]
 */
function token(context, [x, y, wide, high], at, gap = Math.max(1, Math.round(wide * 0.06)), left = 0) {
  context.fillStyle = colour(at);
  context.fillRect(left + x + gap, y + gap, wide - 2 * gap, high - 2 * gap);
}

/**
 * One scale after the other; at last a strip of each beside each other, so that the still board tells of all.
 * @param {HTMLCanvasElement} canvas @param {[number, number][]} scales @param {number} upto
 */
function refine(canvas, scales, upto) {
  const { side, context } = cleared(canvas);
  const gap = Math.max(1, Math.round(side / 150));
  const grid = (/** @type {number} */ k, /** @type {number} */ columns, /** @type {number} */ left, /** @type {number} */ wide) => {
    const height = scales[k][0];
    for (let at = 0; at < height * columns; at++) {
      token(context, cell(at, { width: columns, height }, wide, side), share(k + 1, scales.length), gap, left);
    }
  };
  const strip = side / scales.length;
  if (upto === scales.length) scales.forEach((_, k) => grid(k, 1, Math.round(k * strip), Math.round((k + 1) * strip) - Math.round(k * strip)));
  else if (upto) grid(upto - 1, scales[upto - 1][1], 0, side);
}

const POSITIONS = spread();
const PASS_OF = SIZES.flatMap((size, k) => new Array(size).fill(k + 1));

/** @param {HTMLCanvasElement} canvas @param {number} upto */
function scatter(canvas, upto) {
  const { side, context } = cleared(canvas);
  POSITIONS.forEach((at, rank) => {
    if (PASS_OF[rank] <= upto) token(context, cell(at, { width: SIDE, height: SIDE }, side, side), share(PASS_OF[rank], SIZES.length));
  });
}
