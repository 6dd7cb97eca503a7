// A larger frame round a picture: how much larger, and where in it the picture lies. For outpainting.

export class Frame {
  /** @param {number} wide @param {number} high pixels of the picture; the frame keeps its shape */
  constructor(wide, high) {
    this.wide = wide;
    this.high = high;
    this.reset();
  }

  reset() {
    this.#size(1.5);
    this.x = Math.round((this.outer.wide - this.wide) / 2);
    this.y = Math.round((this.outer.high - this.high) / 2);
  }

  /** @param {number} scale of the frame, 1 is no larger than the picture */
  #size(scale) {
    this.scale = Math.min(3, Math.max(1, scale));
    this.outer = { wide: Math.round(this.wide * this.scale), high: Math.round(this.high * this.scale) };
  }

  /** Makes the frame `scale` times as large as the picture, which stays where it is in it. @param {number} scale */
  resize(scale) {
    const share = (/** @type {number} */ at, /** @type {number} */ room) => (room > 0 ? at / room : 0.5);
    const across = share(this.x, this.outer.wide - this.wide);
    const down = share(this.y, this.outer.high - this.high);
    this.#size(scale);
    this.x = Math.round(across * (this.outer.wide - this.wide));
    this.y = Math.round(down * (this.outer.high - this.high));
  }

  /** @param {number} x @param {number} y pixels of the picture */
  moveTo(x, y) {
    this.x = Math.min(this.outer.wide - this.wide, Math.max(0, Math.round(x)));
    this.y = Math.min(this.outer.high - this.high, Math.max(0, Math.round(y)));
  }

  /** Pixels added left, top, right and bottom, as the API wants them. @returns {[number, number, number, number]} */
  get margins() {
    return [this.x, this.y, this.outer.wide - this.wide - this.x, this.outer.high - this.high - this.y];
  }

  get larger() {
    return this.margins.some((margin) => margin > 0);
  }
}
