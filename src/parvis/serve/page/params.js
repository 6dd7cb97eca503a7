// The numbers that can be set: their bounds, and how settings become the fields of a request.

import { classAt, classTitle, labelOf } from "./classes.js";
import { fixesSteps, orderLabel, ordersOf } from "./orders.js";
import { model, modelOf, state } from "./state.js";

/**
 * @typedef {import("./api.js").Model} Model
 * @typedef {"steps" | "guidance" | "temperature" | "topK" | "topP"} Name
 * @typedef {{field: keyof Model["x_preset"], label: (model: Model) => string, hint: (model: Model) => string, min: number,
 *   max: (model: Model) => number, step: number, means: (model: Model) => boolean}} Param means: whether it does anything
 */

const always = () => true;
const ofCodes = (/** @type {Model} */ m) => m.x_values !== "latents";
const often = (/** @type {Model} */ m) => m.x_passes_per_group ?? 1;

/** @type {Record<Name, Param>} */
export const PARAMS = {
  steps: {
    field: "steps",
    label: (m) => (often(m) === 1 ? "Passes" : "Groups"),
    hint: (m) => (often(m) === 1 ? "fewer passes write more tokens at once" : `each takes about ${often(m)} passes`),
    min: 1,
    max: (m) => m.x_grid.tokens,
    step: 1,
    means: always,
  },
  guidance: {
    field: "guidance_scale",
    label: () => "Guidance",
    hint: (m) => `how closely the ${m.x_takes === "classes" ? "class" : "prompt"} is followed; 1 is none`,
    min: 0,
    max: (m) => Math.max(8, Math.ceil(1.5 * m.x_preset.guidance_scale)),
    step: 0.1,
    means: always,
  },
  temperature: {
    field: "temperature",
    label: () => "Temperature",
    hint: (m) => (ofCodes(m) ? "0 takes the likeliest token" : "how much noise is added on the way; 0 is none"),
    min: 0,
    max: () => 2,
    step: 0.05,
    means: always,
  },
  topK: { field: "top_k", label: () => "Top-k", hint: () => "of the k likeliest tokens; 0 is all", min: 0, max: () => 1024, step: 1, means: ofCodes },
  topP: { field: "top_p", label: () => "Top-p", hint: () => "of the likeliest tokens that make up p; 1 is all", min: 0.05, max: () => 1, step: 0.05, means: ofCodes },
};
export const NAMES = /** @type {Name[]} */ (Object.keys(PARAMS));

/** The value in force: what is set, else the model's preset. @param {Name} name */
export const valueOf = (name) => state[name] ?? model().x_preset[PARAMS[name].field];

/**
 * The fields of a request for the settings as they are, with `changes` to them.
 * @param {Record<string, any>} [changes] settings in place of those of the page, and `seed`, `n`
 * @returns {import("./api.js").Fields}
 */
export function fieldsOf(changes = {}) {
  const set = { ...state, n: 1, ...changes };
  const chosen = modelOf(set.model) ?? model();
  const fields = /** @type {Record<string, any>} */ ({ model: chosen.id, n: set.n, seed: set.seed });
  if (chosen.x_takes === "classes") fields.class_label = labelOf(chosen, classAt(chosen, set.classLabel) ?? 0);
  else fields.prompt = set.prompt;
  if (set.order && ordersOf(chosen).includes(set.order)) fields.order = set.order;
  for (const name of NAMES) {
    if (set[name] !== null && means(name, chosen, set.order)) fields[PARAMS[name].field] = set[name];
  }
  return fields;
}

/** Whether a number does anything to a model. @param {Name} name @param {Model} chosen @param {string | null} order */
export const means = (name, chosen, order) => PARAMS[name].means(chosen) && !(name === "steps" && stepsAreFixed(chosen, order));

/** Whether nothing but the order says how many passes there are. @param {Model} chosen @param {string | null} order */
export const stepsAreFixed = (chosen, order) => fixesSteps(order) || chosen.x_edits !== "any" || (!order && oneGroup(chosen));

/** Whether all its tokens are one group, asked several times (MaskGIT). @param {Model} m */
const oneGroup = (m) => often(m) > 1 && m.x_preset.steps === 1;

/** The settings that a request had, to be set again. @param {import("./api.js").Fields} fields */
export function settingsOf(fields) {
  /** @type {Record<string, any>} */
  const set = { model: fields.model, seed: fields.seed, order: fields.order ?? null, locked: true };
  if (fields.prompt !== undefined) set.prompt = fields.prompt;
  if (fields.class_label !== undefined) set.classLabel = fields.class_label;
  for (const name of NAMES) set[name] = fields[PARAMS[name].field] ?? null;
  return set;
}

/** What was drawn, in words. @param {import("./api.js").Fields} fields */
export const titleOf = (fields) => fields.prompt ?? classTitle(fields.class_label);

/** How it was drawn, in words. @param {import("./api.js").Fields} fields */
export function summary(fields) {
  const parts = [fields.model, `seed ${fields.seed}`];
  if (fields.order) parts.push(orderLabel(fields.order).toLowerCase());
  for (const name of NAMES) {
    const value = fields[PARAMS[name].field];
    if (value !== undefined) parts.push(`${PARAMS[name].label(modelOf(fields.model) ?? model()).toLowerCase()} ${value}`);
  }
  return parts.join(" · ");
}

/** Numbers with commas between; `2..8` counts, `0..2/0.5` in steps. @param {string} text @returns {number[]} */
export function numbers(text) {
  return texts(text).flatMap((part) => {
    const range = part.match(/^(-?[\d.]+)\.\.(-?[\d.]+)(?:\/([\d.]+))?$/);
    if (!range) {
      if (!Number.isFinite(Number(part))) throw new Error(`“${part}” is not a number`);
      return [Number(part)];
    }
    const [low, high, step] = [Number(range[1]), Number(range[2]), Number(range[3] ?? 1)];
    const count = Math.floor((high - low) / step + 1e-9) + 1;
    if (!(count > 0 && count <= 64)) throw new Error(`“${part}” does not count up`);
    return Array.from({ length: count }, (_, i) => Number((low + i * step).toFixed(6)));
  });
}

/** What stands between commas. @param {string} text */
export function texts(text) {
  const parts = text.split(",").map((part) => part.trim()).filter(Boolean);
  if (!parts.length) throw new Error("give at least one value");
  return parts;
}
