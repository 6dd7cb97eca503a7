// A picture of a next-scale model: every pass draws the whole picture anew, finer. What is shown is the picture as it was
// after a scale, and over it, if asked for, that scale's grid: its tokens lie nowhere else.

import { colour, dark, share } from "./ramp.js";

/** A scale's size in words. @param {[number, number]} scale height, width */
export const sizeOf = ([height, width]) => `${height} × ${width}`;

/**
 * Lines round the tokens of one scale, in the colour of its pass, and its size in a corner.
 * @param {CanvasRenderingContext2D} context @param {[number, number]} scale @param {number} pass @param {number} last
 * @param {boolean} told whether the size is written
 */
export function ruled(context, [height, width], pass, last, told) {
  const { canvas } = context;
  const at = share(pass, last);
  const line = Math.max(1, Math.round(1.25 * devicePixelRatio));
  const across = (/** @type {number} */ i, /** @type {number} */ count, /** @type {number} */ room) => Math.round((i * room) / count);
  for (const [style, wide] of /** @type {[string, number][]} */ ([[dark(at) ? "rgb(255 255 255 / 0.55)" : "rgb(28 22 51 / 0.55)", line + 2], [colour(at), line]])) {
    context.strokeStyle = style;
    context.lineWidth = wide;
    context.beginPath();
    for (let i = 1; i < width; i++) {
      context.moveTo(across(i, width, canvas.width), 0);
      context.lineTo(across(i, width, canvas.width), canvas.height);
    }
    for (let i = 1; i < height; i++) {
      context.moveTo(0, across(i, height, canvas.height));
      context.lineTo(canvas.width, across(i, height, canvas.height));
    }
    context.rect(wide / 2, wide / 2, canvas.width - wide, canvas.height - wide);
    context.stroke();
  }
  if (told) badge(context, sizeOf([height, width]), at);
}

/** @param {CanvasRenderingContext2D} context @param {string} text @param {number} at */
function badge(context, text, at) {
  const size = Math.round(12 * devicePixelRatio);
  context.font = `600 ${size}px ui-sans-serif, system-ui, sans-serif`;
  const wide = context.measureText(text).width + size;
  context.fillStyle = colour(at);
  context.fillRect(0, 0, wide, size * 1.8);
  context.fillStyle = dark(at) ? "#fff" : "#1c1633";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, wide / 2, size * 0.95);
}
