// A picture on its token grid: what is not written yet is left open, so that the paper shows through; over it, if asked
// for, the pass that wrote every position.

import { GIVEN, UNKNOWN } from "./picture.js";
import { colour, dark, share } from "./ramp.js";
import { ruled } from "./scales.js";

const NUMBERS_FROM = 20;

/**
 * @typedef {{upto?: number, overlay?: boolean, ring?: boolean}} Look
 *   upto: the step after which it is shown; overlay: tint positions by step, where there are several; ring: mark what that step wrote
 */

/**
 * @param {HTMLCanvasElement} canvas @param {import("./picture.js").Picture} picture @param {Look} [look]
 */
export function paint(canvas, picture, look = {}) {
  const context = fitted(canvas);
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  const upto = look.upto ?? picture.step;
  const last = Math.max(picture.steps ?? 0, picture.step);
  const image = picture.imageAt(upto);
  if (image) {
    context.imageSmoothingEnabled = image.width * 2 > width;
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, width, height);
  }
  if (picture.scales) {
    const told = Boolean(look.overlay);
    if (upto > 0 && (told || look.ring)) ruled(context, picture.scales[upto - 1], upto, last, told);
  }
  if (!picture.grid.flat) return;
  const opened = !picture.edited || picture.over;
  picture.stepOf.forEach((pass, at) => {
    const box = cell(at, picture.grid, width, height);
    const written = pass === GIVEN || (pass !== UNKNOWN && pass <= upto);
    if (!written && opened) context.clearRect(...box);
    if (pass === GIVEN || !written) return;
    if (look.overlay && last > 1) tint(context, box, pass, last);
    else if (look.ring && pass === upto) ring(context, box, pass, last);
  });
}

/** The canvas at as many pixels as the screen shows of it. @param {HTMLCanvasElement} canvas */
function fitted(canvas) {
  const wide = Math.round((canvas.clientWidth || 256) * devicePixelRatio);
  const high = Math.round((canvas.clientHeight || 256) * devicePixelRatio);
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

/**
 * Where position `at` lies, in whole pixels, so that neighbours meet.
 * @param {number} at @param {{width: number, height: number}} grid @param {number} wide @param {number} high
 * @returns {[number, number, number, number]} x, y, width, height
 */
export function cell(at, grid, wide, high) {
  const column = at % grid.width;
  const row = Math.floor(at / grid.width);
  const x = Math.round((column * wide) / grid.width);
  const y = Math.round((row * high) / grid.height);
  return [x, y, Math.round(((column + 1) * wide) / grid.width) - x, Math.round(((row + 1) * high) / grid.height) - y];
}

/**
 * @param {CanvasRenderingContext2D} context @param {[number, number, number, number]} box
 * @param {number} pass @param {number} last
 */
function tint(context, [x, y, wide, high], pass, last) {
  const at = share(pass, last);
  const gap = wide > 12 ? devicePixelRatio : 0;
  context.fillStyle = colour(at, 0.78);
  context.fillRect(x + gap, y + gap, wide - 2 * gap, high - 2 * gap);
  if (wide < NUMBERS_FROM * devicePixelRatio) return;
  context.fillStyle = dark(at) ? "#fff" : "#1c1633";
  context.font = `600 ${Math.round(wide * 0.36)}px ui-sans-serif, system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(String(pass), x + wide / 2, y + high / 2 + devicePixelRatio / 2);
}

/**
 * @param {CanvasRenderingContext2D} context @param {[number, number, number, number]} box
 * @param {number} pass @param {number} last
 */
function ring(context, [x, y, wide, high], pass, last) {
  const line = Math.max(1, Math.round(wide / 12));
  context.strokeStyle = colour(share(pass, last));
  context.lineWidth = line;
  context.strokeRect(x + line / 2, y + line / 2, wide - line, high - line);
}
