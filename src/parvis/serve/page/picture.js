// One picture: what was asked for, what has come of it so far, and which pass wrote which position.

export const GIVEN = -1;
export const UNKNOWN = 0;

/**
 * @typedef {{width: number, height: number, tokens: number, flat: boolean}} Grid
 * @typedef {"waiting" | "drawing" | "done" | "cancelled" | "failed"} Status
 */

/** Tells of every change with a `change` event. */
export class Picture extends EventTarget {
  /**
   * @param {Grid} grid @param {import("./api.js").Fields} fields that draw this one picture
   * @param {import("./api.js").Files | null} [files] of an edit
   */
  constructor(grid, fields, files = null) {
    super();
    this.grid = grid;
    this.fields = fields;
    this.files = files;
    /** @type {Status} */
    this.status = "waiting";
    /** @type {Int16Array} of every position its pass (from 1), UNKNOWN or GIVEN */
    this.passOf = new Int16Array(grid.tokens);
    /** passes so far, and how many there will be where that is known */
    this.pass = 0;
    /** @type {number | null} */
    this.total = null;
    /** @type {ImageBitmap | null} */
    this.image = null;
    /** @type {Blob | null} */
    this.blob = null;
    this.seconds = 0;
    this.note = "";
    /** @type {Error | null} */
    this.error = null;
  }

  get edited() {
    return this.files !== null;
  }

  get over() {
    return this.status !== "waiting" && this.status !== "drawing";
  }

  /** How many positions every pass wrote. @returns {number[]} */
  get sizes() {
    const sizes = new Array(Math.max(this.total ?? 0, this.pass)).fill(0);
    for (const pass of this.passOf) if (pass > 0) sizes[pass - 1]++;
    return sizes;
  }

  /** What the server tells of it. @param {Record<string, any>} event */
  async take(event) {
    const blob = toBlob(event.b64_json, `image/${event.output_format ?? "png"}`);
    this.image = await createImageBitmap(blob);
    const finished = event.type.endsWith(".completed");
    this.pass = (finished ? event.x_steps : event.x_pass) ?? this.pass + 1;
    this.total = finished ? this.pass : (event.x_passes ?? this.total);
    this.#write(event.x_positions, finished);
    if (finished) {
      this.blob = blob;
      this.seconds = event.x_seconds ?? 0;
      this.note = event.x_note ?? "";
    }
    this.become(finished ? "done" : "drawing");
  }

  /**
   * Positions that this pass wrote. Where the last event does not name them they are those that are left, and what was
   * never named by then was given.
   * @param {number[] | undefined} positions @param {boolean} finished
   */
  #write(positions, finished) {
    for (const at of positions ?? []) if (this.passOf[at] === UNKNOWN) this.passOf[at] = this.pass;
    if (!finished) return;
    const rest = positions || this.edited ? GIVEN : this.pass;
    this.passOf.forEach((pass, at) => {
      if (pass === UNKNOWN) this.passOf[at] = rest;
    });
  }

  /** @param {Status} status @param {Error} [error] */
  become(status, error) {
    this.status = status;
    this.error = error ?? null;
    this.dispatchEvent(new Event("change"));
  }

  /** What is kept of it. */
  record() {
    const { fields, passOf, pass, seconds, note, blob, grid } = this;
    return { fields, passOf, pass, seconds, note, blob, grid, edited: this.edited };
  }

  /** A kept picture. @param {ReturnType<Picture["record"]>} kept */
  static async from(kept) {
    const picture = new Picture(kept.grid, kept.fields);
    Object.assign(picture, { passOf: kept.passOf, pass: kept.pass, total: kept.pass, seconds: kept.seconds });
    Object.assign(picture, { note: kept.note, blob: kept.blob, status: "done" });
    picture.image = await createImageBitmap(/** @type {Blob} */ (kept.blob));
    return picture;
  }
}

/** @param {string} base64 @param {string} type */
function toBlob(base64, type) {
  return new Blob([Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0))], { type });
}
