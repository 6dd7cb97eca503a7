// What of a picture is to be drawn anew: painted pixels, with undo.

const REMEMBERED = 40;
/** A thinner stroke between pixels would fill none of them. */
const THINNEST = 2;

export class Mask {
  /** @param {number} wide @param {number} high pixels, those of the picture */
  constructor(wide, high) {
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, { width: wide, height: high });
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d", { willReadFrequently: true }));
    /** @type {ImageData[]} */
    this.past = [];
    /** @type {ImageData[]} */
    this.future = [];
  }

  get #pixels() {
    return this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  /** To be called before a stroke: it can then be taken back. */
  remember() {
    this.past.push(this.#pixels);
    if (this.past.length > REMEMBERED) this.past.shift();
    this.future = [];
  }

  /** @param {boolean} [forward] redo */
  undo(forward = false) {
    const [from, to] = forward ? [this.future, this.past] : [this.past, this.future];
    const pixels = from.pop();
    if (!pixels) return;
    to.push(this.#pixels);
    this.context.putImageData(pixels, 0, 0);
  }

  /**
   * A stroke between two points, in pixels of the picture.
   * @param {{x: number, y: number}} from @param {{x: number, y: number}} to @param {number} size across
   * @param {boolean} erase
   */
  stroke(from, to, size, erase) {
    const { context } = this;
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = Math.max(THINNEST, size);
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x + 0.01, to.y);
    context.stroke();
    context.globalCompositeOperation = "source-over";
  }

  clear() {
    this.remember();
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** What was painted is left, what was not is painted. */
  invert() {
    this.remember();
    const pixels = this.#pixels;
    for (let i = 3; i < pixels.data.length; i += 4) pixels.data[i] = pixels.data[i] > 127 ? 0 : 255;
    this.context.putImageData(pixels, 0, 0);
  }

  /**
   * The tokens that a painted pixel touches: those are drawn anew.
   * @param {{width: number, height: number}} grid @returns {Set<number>}
   */
  tokens(grid) {
    const { width, height } = this.canvas;
    const { data } = this.#pixels;
    /** @type {Set<number>} */
    const touched = new Set();
    for (let i = 0; i < width * height; i++) {
      if (data[4 * i + 3] < 128) continue;
      const [x, y] = [i % width, Math.floor(i / width)];
      touched.add(Math.floor((y * grid.height) / height) * grid.width + Math.floor((x * grid.width) / width));
    }
    return touched;
  }

  /** As the API wants it: transparent where to draw anew, opaque elsewhere. */
  asSent() {
    const sent = document.createElement("canvas");
    Object.assign(sent, { width: this.canvas.width, height: this.canvas.height });
    const pixels = this.#pixels;
    for (let i = 3; i < pixels.data.length; i += 4) pixels.data[i] = pixels.data[i] > 127 ? 0 : 255;
    sent.getContext("2d")?.putImageData(pixels, 0, 0);
    return sent;
  }
}
