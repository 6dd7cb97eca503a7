// What is set on the page, kept between visits, and what the server has told about itself.

import { classAt, classCount, named } from "./classes.js";

/** @typedef {import("./api.js").Model} Model */

const STORED = "parvis.settings";
const SEEDS = 2 ** 31;

const DEFAULTS = {
  /** @type {string | null} */
  model: null,
  prompt: "",
  /** @type {string | number | null} the class, by name or number; none is chosen at first */
  classLabel: null,
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
  compare: { orders: ["own", "random", "raster"], steps: "", /** @type {string[]} */ models: [] },
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
    const found = JSON.parse(localStorage.getItem(STORED) ?? "{}");
    return { ...found, compare: { ...DEFAULTS.compare, ...found.compare } };
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

/** The model of that name, if it is served. @param {string | null} id @returns {Model | undefined} */
export const modelOf = (id) => server.models.find((one) => one.id === id);

/** The chosen model. @returns {Model} */
export const model = () => modelOf(state.model) ?? server.models[0];

/** The other models that understand what this one is told: captions, or these classes. @param {Model} one */
export const alike = (one) =>
  server.models.filter((other) => {
    if (other === one || other.x_takes !== one.x_takes) return false;
    return one.x_takes !== "classes" || (named(one) === named(other) && classCount(one) === classCount(other) && one.x_classes.every((name) => other.x_classes.includes(name)));
  });

export const randomSeed = () => Math.floor(Math.random() * SEEDS);

/** The seed of the next run: another one each time, unless it is locked. */
export function takeSeed() {
  if (!state.locked) set({ seed: randomSeed() });
  return state.seed;
}

/** What is missing before anything can be drawn; `null` where nothing is. @returns {string | null} */
export function missing() {
  if (!server.models.length) return "The server has not answered yet.";
  if (model().x_takes !== "classes") return state.prompt.trim() ? null : "Say what to draw first.";
  return classCount(model()) > 1 && classAt(model(), state.classLabel) === null ? "Choose a class first." : null;
}
