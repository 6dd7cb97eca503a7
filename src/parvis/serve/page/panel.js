// The settings beside the pictures: what to draw, by whom, how.

import { words } from "./api.js";
import { classKept } from "./classes.js";
import { byId, complain, counted, filled, h, icon } from "./dom.js";
import { orderHint, orderLabel, ordersOf } from "./orders.js";
import { means, NAMES, PARAMS, stepsAreFixed, valueOf } from "./params.js";
import { ClassPicker } from "./picker.js";
import { Prompt } from "./prompt.js";
import { sizeOf } from "./scales.js";
import { changes, model, modelOf, randomSeed, server, set, state } from "./state.js";

/** @typedef {import("./api.js").Model} Model */

/** Fills the panel and keeps it in step with the settings. */
export async function openPanel() {
  const prompt = new Prompt();
  const picker = new ClassPicker();
  for (const name of NAMES) byId(name === "topK" || name === "topP" ? "more" : "numbers").append(slider(name));
  listen();
  changes.addEventListener("change", () => show(prompt, picker));
  const wanted = modelOf(state.model);
  await choose(wanted ?? server.models[0], wanted ? {} : { order: null, steps: null });
}

function listen() {
  byId("model").addEventListener("change", (/** @type {any} */ event) => choose(event.target.value));
  byId("order").addEventListener("change", (/** @type {any} */ event) => set({ order: event.target.value || null }));
  byId("seed").addEventListener("change", (/** @type {any} */ event) => {
    const seed = Math.round(Number(event.target.value));
    set({ seed: seed >= 0 && Number.isSafeInteger(seed) ? seed : state.seed, locked: true });
  });
  byId("dice").addEventListener("click", () => set({ seed: randomSeed() }));
  byId("lock").addEventListener("click", () => set({ locked: !state.locked }));
  byId("fewer").addEventListener("click", () => set({ n: Math.max(1, state.n - 1) }));
  byId("more-pictures").addEventListener("click", () => set({ n: Math.min(10, state.n + 1) }));
}

/**
 * Lets another model draw. What of the settings fits it stays, unless `patch` sets it; what does not is cleared.
 * @param {Model | string} to @param {Record<string, any>} [patch]
 */
export async function choose(to, patch = {}) {
  const before = model();
  const next = typeof to === "string" ? (modelOf(to) ?? before) : to;
  set({ ...(next === before ? {} : fitting(before, next)), ...patch, model: next.id });
  byId("model").replaceChildren(...server.models.map((each) => h("option", { value: each.id }, each.id)));
  const offered = ordersOf(next).map((name) => h("option", { value: name }, orderLabel(name)));
  byId("order").replaceChildren(h("option", { value: "" }, orderLabel(null)), ...offered);
  await learn(next);
  if (model() !== next) return;
  set({ order: ordersOf(next).includes(state.order ?? "") ? state.order : null });
  document.dispatchEvent(new Event("model"));
}

/** What stays of the settings. @param {Model} before @param {Model} next */
function fitting(before, next) {
  const order = ordersOf(next).includes(state.order ?? "") ? state.order : null;
  const alike = before.x_passes_per_group === next.x_passes_per_group && !stepsAreFixed(next, order);
  const steps = alike && (state.steps ?? 0) <= next.x_grid.tokens ? state.steps : null;
  const byClass = before.x_takes === "classes" && next.x_takes === "classes";
  const codes = next.x_values === before.x_values ? {} : { temperature: null, topK: null, topP: null };
  return { order, steps, ...codes, classLabel: byClass ? classKept(before, next, state.classLabel) : null };
}

/** Reads the words that a model knows. @param {Model} one */
async function learn(one) {
  server.words = new Set();
  if (!one.x_words) return;
  try {
    const found = new Set(await words(one.id));
    if (model() === one) server.words = found;
  } catch (error) {
    complain("The model's words could not be read, so unknown ones are not marked.", String(error));
  }
}

/** @param {Prompt} prompt @param {ClassPicker} picker */
function show(prompt, picker) {
  const one = model();
  const byClass = one.x_takes === "classes";
  byId("prompt-field").hidden = byClass;
  byId("class-field").hidden = !byClass;
  if (byClass) picker.show();
  else prompt.show();
  byId("model").value = one.id;
  byId("facts").textContent = facts(one);
  const free = ordersOf(one).length > 0;
  byId("order-field").hidden = !free;
  byId("order-own").hidden = free;
  byId("order-own").textContent = free ? "" : fixedOrder(one);
  byId("order").value = state.order ?? "";
  byId("order-hint").textContent = state.order ? orderHint(state.order) : "";
  byId("seed").value = state.seed;
  byId("lock").setAttribute("aria-pressed", String(state.locked));
  byId("lock").replaceChildren(icon(state.locked ? "locked" : "unlocked"));
  byId("seed-hint").textContent = state.locked ? "kept for every run" : "a new one each run";
  byId("n").textContent = String(state.n);
  byId("fewer").disabled = state.n <= 1;
  byId("more-pictures").disabled = state.n >= 10;
  for (const name of NAMES) showSlider(name);
  byId("sampling").hidden = !(means("topK", one, null) || means("topP", one, null));
}

/** @param {Model} one */
function facts(one) {
  const { tokens, scales } = one.x_grid;
  const what = one.x_values === "latents" ? "latent" : "token";
  const told = [`${one.x_sizes[0].replace("x", " × ")} pixels`, counted(tokens, what)];
  if (scales?.length > 1) told.push(`${scales.length} scales, ${sizeOf(scales[0])} to ${sizeOf(scales[scales.length - 1])}`);
  return told.join(", ");
}

/** Why neither an order nor a number of passes can be chosen. @param {Model} one */
function fixedOrder(one) {
  const passes = counted(one.x_preset.steps * (one.x_passes_per_group ?? 1), "pass", "passes");
  if (one.x_grid.scales?.length > 1) return `Coarse to fine, a scale a pass: always ${passes}. This model knows no other order.`;
  return `Always in its own order, in ${passes}. This model knows no other.`;
}

/** @param {import("./params.js").Name} name */
function slider(name) {
  const param = PARAMS[name];
  const read = (/** @type {any} */ event) => {
    const given = Number(event.target.value);
    if (event.target.value !== "" && Number.isFinite(given)) set({ [name]: Math.min(param.max(model()), Math.max(param.min, given)) });
  };
  const range = { type: "range", min: param.min, step: param.step, oninput: read };
  const number = { type: "number", min: param.min, step: "any", onchange: read };
  return h(
    "div.field.number",
    { "data-name": name },
    h("span.label"),
    h("button.word.preset", { type: "button", title: "As the model's preset", onclick: () => set({ [name]: null }) }, "reset"),
    h("input", number),
    h("input", range),
    h("span.hint"),
  );
}

/** @param {import("./params.js").Name} name */
function showSlider(name) {
  const field = /** @type {HTMLElement} */ (document.querySelector(`[data-name=${name}]`));
  const [number, range] = field.querySelectorAll("input");
  const [param, one] = [PARAMS[name], model()];
  const label = param.label(one);
  const fixed = name === "steps" && stepsAreFixed(one, state.order);
  // where the model's only order fixes them, the line about its order says so
  field.hidden = !param.means(one) || (fixed && !ordersOf(one).length);
  const value = fixed ? "" : String(valueOf(name));
  range.max = number.max = String(param.max(one));
  number.value = value;
  range.value = value;
  number.hidden = range.hidden = fixed;
  range.setAttribute("aria-label", label);
  number.setAttribute("aria-label", `${label}, as a number`);
  filled(range);
  /** @type {HTMLElement} */ (field.querySelector(".label")).textContent = label;
  /** @type {HTMLElement} */ (field.querySelector(".preset")).hidden = state[name] === null || fixed;
  /** @type {HTMLElement} */ (field.querySelector(".hint")).textContent = fixed ? "this order fixes how many" : param.hint(one);
}
