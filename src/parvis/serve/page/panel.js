// The settings beside the pictures: what to draw, by whom, how.

import { words } from "./api.js";
import { byId, complain, h, icon } from "./dom.js";
import { orderHint, orderLabel, ordersOf } from "./orders.js";
import { NAMES, PARAMS, stepsAreFixed, valueOf } from "./params.js";
import { Prompt } from "./prompt.js";
import { changes, model, randomSeed, server, set, state } from "./state.js";

/** Fills the panel and keeps it in step with the settings. */
export async function openPanel() {
  const prompt = new Prompt();
  for (const name of NAMES) byId(name === "topK" || name === "topP" ? "more" : "numbers").append(slider(name));
  listen();
  changes.addEventListener("change", () => show(prompt));
  await chosen();
  show(prompt);
}

function listen() {
  byId("model").addEventListener("change", async (/** @type {any} */ event) => {
    set({ model: event.target.value, order: null, steps: null });
    await chosen();
  });
  byId("order").addEventListener("change", (/** @type {any} */ event) => set({ order: event.target.value || null }));
  byId("class").addEventListener("input", (/** @type {any} */ event) => set({ classLabel: event.target.value.trim() }));
  byId("seed").addEventListener("change", (/** @type {any} */ event) => {
    const seed = Math.round(Number(event.target.value));
    set({ seed: seed >= 0 && Number.isSafeInteger(seed) ? seed : state.seed, locked: true });
  });
  byId("dice").addEventListener("click", () => set({ seed: randomSeed() }));
  byId("lock").addEventListener("click", () => set({ locked: !state.locked }));
  byId("fewer").addEventListener("click", () => set({ n: Math.max(1, state.n - 1) }));
  byId("more-pictures").addEventListener("click", () => set({ n: Math.min(10, state.n + 1) }));
}

/** What belongs to the chosen model: its words, classes and orders. */
async function chosen() {
  const one = model();
  byId("model").replaceChildren(...server.models.map((each) => h("option", { value: each.id }, each.id)));
  byId("class-names").replaceChildren(...one.x_classes.map((name) => h("option", { value: name })));
  const offered = ordersOf(one).map((name) => h("option", { value: name }, orderLabel(name)));
  byId("order").replaceChildren(h("option", { value: "" }, orderLabel(null)), ...offered);
  if (state.order && !ordersOf(one).includes(state.order)) state.order = null;
  server.words = new Set();
  if (one.x_words) {
    try {
      server.words = new Set(await words(one.id));
    } catch (error) {
      complain("The model's words could not be read, so unknown ones are not marked.", String(error));
    }
  }
  set({ model: one.id });
}

/** @param {Prompt} prompt */
function show(prompt) {
  const one = model();
  const byClass = one.x_takes === "classes";
  byId("prompt-field").hidden = byClass;
  byId("class-field").hidden = !byClass;
  prompt.show();
  byId("model").value = one.id;
  byId("class").value = state.classLabel;
  byId("facts").textContent = `${one.x_sizes[0].replace("x", " × ")} pixels, ${one.x_grid.tokens} tokens`;
  byId("order").value = state.order ?? "";
  byId("order").disabled = !one.x_orders.length;
  byId("order-hint").textContent = one.x_orders.length ? (state.order ? orderHint(state.order) : "") : "this model knows only its own";
  byId("seed").value = state.seed;
  byId("lock").setAttribute("aria-pressed", String(state.locked));
  byId("lock").replaceChildren(icon(state.locked ? "locked" : "unlocked"));
  byId("seed-hint").textContent = state.locked ? "kept for every run" : "a new one each run";
  byId("n").textContent = String(state.n);
  for (const name of NAMES) showSlider(name);
}

/** @param {import("./params.js").Name} name */
function slider(name) {
  const param = PARAMS[name];
  const read = (/** @type {any} */ event) => {
    const given = Number(event.target.value);
    if (event.target.value !== "" && Number.isFinite(given)) set({ [name]: Math.min(param.max(model()), Math.max(param.min, given)) });
  };
  const range = { type: "range", min: param.min, step: param.step, "aria-label": param.label, oninput: read };
  const number = { type: "number", min: param.min, step: "any", "aria-label": `${param.label}, as a number`, onchange: read };
  return h(
    "div.field.number",
    { "data-name": name },
    h("span.label", { title: param.hint }, param.label),
    h("button.word.preset", { type: "button", title: "As the model's preset", onclick: () => set({ [name]: null }) }, "reset"),
    h("input", number),
    h("input", range),
    h("span.hint", null, param.hint),
  );
}

/** @param {import("./params.js").Name} name */
function showSlider(name) {
  const field = /** @type {HTMLElement} */ (document.querySelector(`[data-name=${name}]`));
  const [number, range] = field.querySelectorAll("input");
  const fixed = name === "steps" && stepsAreFixed(model(), state.order);
  const value = fixed ? "" : String(valueOf(name));
  range.max = number.max = String(PARAMS[name].max(model()));
  number.value = value;
  range.value = value;
  number.disabled = range.disabled = fixed;
  number.placeholder = fixed ? "fixed" : "";
  const [low, high] = [Number(range.min), Number(range.max)];
  range.style.setProperty("--at", `${((Number(range.value) - low) / (high - low)) * 100}%`);
  /** @type {HTMLElement} */ (field.querySelector(".preset")).hidden = state[name] === null || fixed;
  /** @type {HTMLElement} */ (field.querySelector(".hint")).textContent = fixed ? "the order fixes how many" : PARAMS[name].hint;
}
