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

/** A board that writes itself, again and again while it is seen; still for those who want no motion. */
export function waitingBoard() {
  const canvas = h("canvas.waiting", { role: "img", "aria-label": "A token grid, coloured by the pass that writes each token" });
  const positions = spread();
  const passOf = SIZES.flatMap((size, k) => new Array(size).fill(k + 1));
  const paint = (/** @type {number} */ upto) => {
    const side = Math.round((canvas.clientWidth || 300) * devicePixelRatio);
    Object.assign(canvas, { width: side, height: side });
    const context = canvas.getContext("2d");
    positions.forEach((at, rank) => {
      if (passOf[rank] > upto) return;
      const [x, y, w, high] = cell(at, { width: SIDE, height: SIDE }, side, side);
      const gap = Math.max(1, Math.round(w * 0.06));
      context.fillStyle = colour(share(passOf[rank], SIZES.length));
      context.fillRect(x + gap, y + gap, w - 2 * gap, high - 2 * gap);
    });
  };
  let pass = SIZES.length;
  const tick = () => {
    if (!canvas.isConnected) return;
    if (canvas.offsetParent) paint(Math.min(pass, SIZES.length));
    pass = calm() ? SIZES.length : (pass + 1) % (SIZES.length + 8);
    setTimeout(tick, PACE);
  };
  requestAnimationFrame(tick);
  return canvas;
}
