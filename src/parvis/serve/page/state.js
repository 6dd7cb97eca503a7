// What is set on the page, kept between visits, and what the server has told about itself.

/** @typedef {import("./api.js").Model} Model */

const STORED = "parvis.settings";
const SEEDS = 2 ** 31;

const DEFAULTS = {
  /** @type {string | null} */
  model: null,
  prompt: "",
  classLabel: "0",
  n: 4,
  /** @type {number | null} a number of passes; null, as everywhere below: as the model's preset */
  steps: null,
  /** @type {string | null} */
  order: null,
  /** @type {number | null} */
  guidance: null,
  /** @type {number | null} */
  temperature: null,
  /** @type {number | null} */
  topK: null,
  /** @type {number | null} */
  topP: null,
  seed: 1,
  locked: false,
  overlay: false,
  compare: { orders: ["own", "random", "raster"], steps: "" },
  grid: { x: "steps", xs: "4, 8, 16", y: "guidance", ys: "1, 1.5, 3" },
};

export const state = { ...DEFAULTS, ...stored() };

/** Tells with `change` that something was set. */
export const changes = new EventTarget();

/** What the server serves; filled once it has answered. */
export const server = {
  /** @type {Model[]} */
  models: [],
  /** @type {Set<string>} words that the chosen model knows */
  words: new Set(),
};

function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORED) ?? "{}");
  } catch {
    return {};
  }
}

/** @param {Partial<typeof DEFAULTS>} patch */
export function set(patch) {
  Object.assign(state, patch);
  try {
    localStorage.setItem(STORED, JSON.stringify(state));
  } catch {
    // a browser that keeps nothing still draws
  }
  changes.dispatchEvent(new Event("change"));
}

/** The chosen model. @returns {Model} */
export const model = () => server.models.find((one) => one.id === state.model) ?? server.models[0];

export const randomSeed = () => Math.floor(Math.random() * SEEDS);

/** The seed of the next run: another one each time, unless it is locked. */
export function takeSeed() {
  if (!state.locked) set({ seed: randomSeed() });
  return state.seed;
}

/** What is missing before anything can be drawn; `null` where nothing is. @returns {string | null} */
export function missing() {
  if (!server.models.length) return "The server has not answered yet.";
  const what = model().x_takes === "classes" ? state.classLabel : state.prompt;
  if (what.trim()) return null;
  return model().x_takes === "classes" ? "Choose a class first." : "Say what to draw first.";
}
