// One picture: what was asked for, what has come of it so far, and which step wrote which position. A step is a pass that
// wrote something: in most models every one, in some (xAR) the last of several that a group takes; in next-scale models
// it is a whole scale.

export const GIVEN = -1;
export const UNKNOWN = 0;
const QUALITY = 0.85;

/**
 * @typedef {{width: number, height: number, tokens: number, flat: boolean, scales?: [number, number][], often?: number}}
 *   Grid often: passes of a step
 * @typedef {"waiting" | "drawing" | "done" | "cancelled" | "failed"} Status
 */

/** Where a model's tokens lie, and how often each is asked for. @param {import("./api.js").Model} model @returns {Grid} */
export const gridOf = (model) => ({ ...model.x_grid, often: model.x_passes_per_group ?? 1 });

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
    /** @type {[number, number][] | null} height and width of every scale, where there are several */
    this.scales = grid.scales && grid.scales.length > 1 ? grid.scales : null;
    this.usual = grid.often ?? 1;
    /** @type {Status} */
    this.status = "waiting";
    /** @type {Int16Array} of every position its step (from 1), UNKNOWN or GIVEN */
    this.stepOf = new Int16Array(grid.tokens);
    /** steps that are written so far; `pass`: passes so far, `total`: how many there will be where that is known */
    this.step = 0;
    this.pass = 0;
    /** @type {number | null} */
    this.total = null;
    /** @type {ImageBitmap | null} */
    this.image = null;
    /** @type {Blob | null} */
    this.blob = null;
    /** @type {Map<number, ImageBitmap>} the picture after every scale that was seen */
    this.seen = new Map();
    this.seconds = 0;
    this.note = "";
    /** whether the server had no room when it was last asked */
    this.held = false;
    /** @type {Error | null} */
    this.error = null;
  }

  /** Passes of a step. Where a group is seen growing pass by pass (MaskGIT) it is one, however many the group takes. */
  get often() {
    return this.pass && this.step === this.pass ? 1 : this.usual;
  }

  get edited() {
    return this.files !== null;
  }

  get over() {
    return this.status !== "waiting" && this.status !== "drawing";
  }

  /** How many steps there will be, where that is known. @returns {number | null} */
  get steps() {
    if (this.scales) return this.scales.length;
    if (this.status === "done") return this.step;
    return this.total === null ? null : Math.ceil(this.total / this.often);
  }

  /** How many positions every step wrote; of scales, will write. @returns {number[]} */
  get sizes() {
    if (this.scales) return this.pass || !this.over ? this.scales.map(([height, width]) => height * width) : [];
    const sizes = new Array(Math.max(this.steps ?? 0, this.step)).fill(0);
    for (const step of this.stepOf) if (step > 0) sizes[step - 1]++;
    return sizes;
  }

  /** The share of the step after the last written one that is done: where a step takes several passes. */
  get share() {
    return this.over || this.often === 1 ? 0 : Math.min(1, Math.max(0, this.pass - this.step * this.often) / this.often);
  }

  /** The picture as it was after a step; of scales the last one seen by then. @param {number} upto */
  imageAt(upto) {
    if (!this.scales) return this.image;
    for (let step = upto; step > 0; step--) {
      const image = this.seen.get(step);
      if (image) return image;
    }
    return null;
  }

  /** What the server tells of it. @param {Record<string, any>} event */
  async take(event) {
    const blob = toBlob(event.b64_json, `image/${event.output_format ?? "png"}`);
    this.image = await createImageBitmap(blob);
    const finished = event.type.endsWith(".completed");
    this.pass = (finished ? event.x_steps : event.x_pass) ?? this.pass + 1;
    this.total = finished ? this.pass : (event.x_passes ?? this.total);
    this.#write(event.x_positions, event.x_position_passes, finished);
    if (this.scales && this.step) this.seen.set(this.step, this.image);
    if (finished) {
      this.blob = blob;
      this.seconds = event.x_seconds ?? 0;
      this.note = event.x_note ?? "";
    }
    this.become(finished ? "done" : "drawing");
  }

  /**
   * Positions that were written since the last event, and by which passes: several, where they follow each other faster
   * than they are told. Where the last event does not name them they are those that are left, and what was never named
   * by then was given.
   * @param {number[] | undefined} positions @param {number[] | undefined} passes @param {boolean} finished
   */
  #write(positions, passes, finished) {
    const left = finished && !positions && !this.edited;
    const wrote = new Map(positions?.map((at, k) => [at, passes?.[k] ?? this.pass]));
    const steps = new Map([...new Set(wrote.values())].sort((a, b) => a - b).map((pass, k) => [pass, this.step + k + 1]));
    for (const [at, pass] of wrote) this.stepOf[at] = this.scales ? this.#scaleOf(at) : (steps.get(pass) ?? UNKNOWN);
    if (!this.scales) this.step += left ? 1 : steps.size;
    else this.step = finished ? this.scales.length : Math.max(this.step, ...[...wrote.keys()].map((at) => this.#scaleOf(at)));
    if (!finished) return;
    this.stepOf.forEach((step, at) => {
      if (step === UNKNOWN) this.stepOf[at] = left ? this.step : GIVEN;
    });
  }

  /** The number, from 1, of the scale that a position lies on. @param {number} at */
  #scaleOf(at) {
    let end = 0;
    return 1 + (this.scales ?? []).findIndex(([height, width]) => at < (end += height * width));
  }

  /** @param {Status} status @param {Error} [error] */
  become(status, error) {
    this.status = status;
    this.error = error ?? null;
    this.dispatchEvent(new Event("change"));
  }

  /** What is kept of it. The pictures after every scale are kept small. */
  async record() {
    const { fields, stepOf, step, pass, seconds, note, blob, grid } = this;
    /** @type {[number, Blob][]} */
    const seen = [];
    for (const [at, image] of this.seen) if (image !== this.image) seen.push([at, await small(image)]);
    return { fields, passOf: stepOf, step, pass, seconds, note, blob, grid, edited: this.edited, seen };
  }

  /** A kept picture. @param {Awaited<ReturnType<Picture["record"]>>} kept */
  static async from(kept) {
    const picture = new Picture(kept.grid, kept.fields);
    const { passOf: stepOf, pass, seconds, note, blob } = kept;
    Object.assign(picture, { stepOf, step: kept.step ?? pass, pass, total: pass, seconds, note, blob, status: "done" });
    picture.image = await createImageBitmap(/** @type {Blob} */ (blob));
    for (const [at, one] of kept.seen ?? []) picture.seen.set(at, await createImageBitmap(one));
    if (picture.scales) picture.seen.set(picture.scales.length, picture.image);
    return picture;
  }
}

/** @param {ImageBitmap} image @returns {Promise<Blob>} */
function small(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d")?.drawImage(image, 0, 0);
  return canvas.convertToBlob({ type: "image/webp", quality: QUALITY });
}

/** @param {string} base64 @param {string} type */
function toBlob(base64, type) {
  return new Blob([Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0))], { type });
}
