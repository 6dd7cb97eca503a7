// What the columns and rows of a grid can vary for a model, how typed values are read, and values to begin with.

import { classAt, classCount, labelOf } from "./classes.js";
import { ordersOf, orderLabel } from "./orders.js";
import { means, NAMES, numbers, PARAMS, texts, valueOf } from "./params.js";
import { alike, model, state } from "./state.js";

/**
 * @typedef {{label: string, read: (text: string) => any[], begin: () => string, shown?: (value: any) => string}} Axis
 * @typedef {import("./params.js").Name} Name
 */

/** The axes that mean something for the chosen model, by the setting that they vary. @returns {Record<string, Axis>} */
export function axesOf() {
  const one = model();
  /** @type {Record<string, Axis>} */
  const found = {};
  for (const name of NAMES) {
    if (means(name, one, null)) found[name] = { label: PARAMS[name].label(one), read: numbers, begin: () => beginning(name) };
  }
  if (ordersOf(one).length) found.order = { label: "Order", read: orders, begin: () => ["own", ...ordersOf(one)].slice(0, 3).join(", "), shown: orderLabel };
  found.seed = { label: "Seed", read: numbers, begin: () => "1..3" };
  if (one.x_takes !== "classes") found.prompt = { label: "Prompt", read: texts, begin: () => state.prompt };
  else if (classCount(one) > 1) found.classLabel = { label: "Class", read: classes, begin: () => firstClasses(), shown: (at) => one.x_classes[at] ?? String(at) };
  if (alike(one).length) found.model = { label: "Model", read: models, begin: () => [one, ...alike(one)].map(({ id }) => id).join(", "), shown: String };
  return found;
}

/** @param {Name} name */
function beginning(name) {
  const usual = valueOf(name);
  /** @type {Record<Name, number[]>} */
  const tried = {
    steps: [Math.max(1, Math.round(usual / 2)), usual, Math.min(model().x_grid.tokens, usual * 2)],
    guidance: [1, usual, usual * 2],
    temperature: [0.5, 0.8, 1],
    topK: [1, 16, 0],
    topP: [0.5, 0.9, 1],
  };
  return [...new Set(tried[name])].join(", ");
}

/** Three classes, the chosen one first; by number where a name has a comma. */
function firstClasses() {
  const one = model();
  const first = classAt(one, state.classLabel) ?? 0;
  const three = [0, 1, 2].filter((step) => step < classCount(one)).map((step) => labelOf(one, (first + step) % classCount(one)));
  return three.map((label, i) => (String(label).includes(",") ? (first + i) % classCount(one) : label)).join(", ");
}

/** Classes by name or number; `0..3` counts. @param {string} text @returns {number[]} */
function classes(text) {
  const one = model();
  return texts(text).flatMap((part) => {
    const counted = /^\d+\.\.\d+/.test(part) ? numbers(part) : [part];
    return counted.map((label) => {
      const at = classAt(one, label);
      if (at === null) throw new Error(`“${label}” is not one of the ${classCount(one)} classes of this model`);
      return at;
    });
  });
}

/** @param {string} text @returns {(string | null)[]} */
function orders(text) {
  const known = ordersOf(model());
  return texts(text).map((name) => {
    if (name === "own") return null;
    if (!known.includes(name)) throw new Error(`“${name}” is not an order of this model: own, ${known.join(", ")}`);
    return name;
  });
}

/** @param {string} text */
function models(text) {
  const known = [model(), ...alike(model())].map(({ id }) => id);
  for (const name of texts(text)) if (!known.includes(name)) throw new Error(`“${name}” is not one of the models that can be set beside each other: ${known.join(", ")}`);
  return texts(text);
}
