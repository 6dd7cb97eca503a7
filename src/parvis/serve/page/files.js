// Pictures and settings as files, in both directions.

import { titleOf } from "./params.js";
import { GIVEN } from "./picture.js";

/** @typedef {import("./picture.js").Picture} Picture */

/** The file as the server made it: a PNG carries its settings, which `parvis show` reads. @param {Picture} picture */
export function savePng(picture) {
  if (picture.blob) save(picture.blob, `${nameOf(picture)}.png`);
}

/** Everything about it but the pixels, the order too. @param {Picture} picture */
export function saveJson(picture) {
  const { fields, pass, step, often, seconds, grid, note } = picture;
  const order = Array.from({ length: step }, () => /** @type {number[]} */ ([]));
  /** @type {number[]} */
  const given = [];
  picture.stepOf.forEach((at, position) => (at === GIVEN ? given : order[at - 1])?.push(position));
  const told = { request: fields, passes: pass, seconds, note: note || null, grid, [often === 1 ? "positions_by_pass" : "positions_by_group"]: order, given };
  save(new Blob([JSON.stringify(told, null, 1)], { type: "application/json" }), `${nameOf(picture)}.json`);
}

/** @param {Picture} picture */
function nameOf(picture) {
  const words = titleOf(picture.fields).match(/[\p{L}\p{N}]+/gu) ?? ["picture"];
  return `${words.join("-").slice(0, 60)}-${picture.fields.seed}`;
}

/** @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @param {HTMLCanvasElement} canvas @returns {Promise<Blob>} */
export function asPng(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture cannot be written as PNG"))), "image/png");
  });
}

/**
 * The middle of a picture in the shape of `wide` x `high`, at that size.
 * @param {ImageBitmap} image @param {number} wide @param {number} high
 */
export function fittedTo(image, wide, high) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: wide, height: high });
  const scale = Math.max(wide / image.width, high / image.height);
  const [w, h] = [image.width * scale, image.height * scale];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "#fff";
  context.fillRect(0, 0, wide, high);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (wide - w) / 2, (high - h) / 2, w, h);
  return canvas;
}
