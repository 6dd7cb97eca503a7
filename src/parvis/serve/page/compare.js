// Side by side: one prompt or class and one seed, in several orders and numbers of passes and by several models, one after
// the other, so that seconds can be compared.

import { Card } from "./card.js";
import { byId, counted, h, reveal, tool } from "./dom.js";
import { waitingBoard } from "./empty.js";
import { perform } from "./jobs.js";
import { orderHint, orderLabel, ordersOf } from "./orders.js";
import { fieldsOf, numbers, PARAMS, stepsAreFixed, summary, titleOf, valueOf } from "./params.js";
import { gridOf, Picture } from "./picture.js";
import { playOnly } from "./replay.js";
import { alike, model, modelOf, set, state, takeSeed } from "./state.js";

/** @type {import("./main.js").View} */
export const comparing = {
  button: () => (nothing() ? null : `Compare ${counted(cells().flat().length, "picture")}`),
  open() {
    const one = model();
    const [orders, others] = [ordersOf(one), alike(one)];
    byId("compare-bench").hidden = nothing();
    byId("compare-own").hidden = byId("compare-count").hidden = !orders.length;
    byId("compare-others").hidden = !others.length;
    byId("compare-limits").hidden = orders.length > 0;
    byId("compare-limits").textContent = `${one.id} draws in its own order only; choose what to set beside it.`;
    fill("compare-orders", "orders", orders.length ? ["own", ...orders] : [], (name) => orderLabel(name === "own" ? null : name), orderHint);
    fill("compare-models", "models", others.map(({ id }) => id), String, () => "");
    byId("compare-steps").value = state.compare.steps;
    byId("compare-steps").placeholder = suggested();
    byId("compare-label").textContent = `${PARAMS.steps.label(one)}, with commas between`;
    if (!byId("compared").childElementCount || nothing()) invite(nothing());
  },
  missing() {
    if (!cells().length) return "Choose at least one order to compare.";
    if (!ordersOf(model()).length && cells().length < 2) return "Choose another model to set beside this one.";
    try {
      steps();
      return null;
    } catch (error) {
      return `Passes: ${/** @type {Error} */ (error).message}.`;
    }
  },
  async run(signal) {
    const seed = takeSeed();
    const rows = cells().map((row) => row.map((change) => fieldsOf({ seed, ...change })));
    const cards = rows.map((row) => row.map((fields) => new Card(new Picture(gridOf(modelOf(fields.model) ?? model()), fields), { small: true, label: labelOf(fields) })));
    const all = cards.flat();
    const [first] = rows.flat();
    const replay = tool("play", "Replay all side by side", () => playOnly(all));
    const header = h("header", null, h("h2", null, titleOf(first)), h("p.summary", null, rows.flat().every((fields) => fields.model === first.model) ? `${first.model} · seed ${seed}` : `seed ${seed}`), replay);
    const apart = rows.every((row) => row.length === 1);
    const lines = cards.map((row, i) => h("div.row", null, rowTitle(rows[i][0]), h("div.cells", null, ...row.map((card) => card.element))));
    byId("compare-empty").hidden = true;
    const run = h("section.run.table", { "aria-label": "Compared" }, header, h("div", { class: apart ? "rows apart" : "rows" }, ...lines));
    byId("compared").replaceChildren(run);
    reveal(run);
    for (const card of all) card.picture.addEventListener("change", () => bars(all));
    return perform(all.map(({ picture }) => ({ fields: picture.fields, files: null, pictures: [picture] })), signal);
  },
};

/** Listens to what is typed; called once. */
export function openCompare() {
  byId("compare-steps").addEventListener("input", (/** @type {any} */ event) => set({ compare: { ...state.compare, steps: event.target.value } }));
}

/** Whether this model and this server leave nothing to be compared. */
const nothing = () => !ordersOf(model()).length && !alike(model()).length;

/**
 * Boxes to choose from.
 * @param {string} id @param {"orders" | "models"} which @param {string[]} names @param {(name: string) => string} label
 * @param {(name: string) => string} hint
 */
function fill(id, which, names, label, hint) {
  const chosen = state.compare[which];
  const box = (/** @type {string} */ name) => {
    const flip = (/** @type {any} */ event) => {
      const others = state.compare[which].filter((one) => one !== name);
      set({ compare: { ...state.compare, [which]: event.target.checked ? [...others, name] : others } });
    };
    return h("label.chip", { title: hint(name) }, h("input", { type: "checkbox", checked: chosen.includes(name), onchange: flip, value: name }), label(name));
  };
  byId(id).replaceChildren(...names.map(box));
}

/** What is said while nothing is compared. @param {boolean} never */
function invite(never) {
  const empty = byId("compare-empty");
  const one = model();
  byId("compared").replaceChildren();
  empty.hidden = false;
  const many = never
    ? [h("h2", null, "Nothing to set side by side"), h("p", null, `${one.id} draws in its own order and number of passes, and no other model served here draws the same ${one.x_takes === "classes" ? "classes" : "prompts"}. The X/Y grid can vary its other settings.`)]
    : [h("h2", null, "Side by side"), h("p", null, ordersOf(one).length ? "One prompt, one seed: rows are orders and models, columns are numbers of passes." : "One seed, several models: each row is a model in its own order.")];
  empty.replaceChildren(waitingBoard(one.x_grid.scales), h("div", null, ...many));
}

/** @param {import("./api.js").Fields} fields */
function rowTitle(fields) {
  if (fields.model !== model().id || alike(model()).some(({ id }) => state.compare.models.includes(id))) return h("h3", null, fields.model, h("span.hint", null, fields.order ? orderLabel(fields.order) : "in its own order"));
  return h("h3", null, orderLabel(fields.order ?? null), h("span.hint", null, orderHint(fields.order ?? "")));
}

/** The orders that are compared; a model that has but its own is compared in that. */
function chosenOrders() {
  const orders = ordersOf(model());
  return orders.length ? ["own", ...orders].filter((name) => state.compare.orders.includes(name)) : ["own"];
}

/** As many passes as usual, half and twice as many. */
function suggested() {
  const usual = valueOf("steps");
  const most = model().x_grid.tokens;
  return [...new Set([Math.max(1, Math.round(usual / 2)), usual, Math.min(most, usual * 2)])].join(", ");
}

/** @returns {number[]} */
const steps = () => numbers(state.compare.steps.trim() || suggested());

/** The settings of every picture, a row for an order. */
function cells() {
  let counts = [valueOf("steps")];
  try {
    counts = steps();
  } catch {
    // said by `missing` when it is asked for
  }
  const own = chosenOrders().map((name) => {
    const order = name === "own" ? null : name;
    return stepsAreFixed(model(), order) ? [{ order, steps: null }] : counts.map((count) => ({ order, steps: count }));
  });
  const others = alike(model()).filter(({ id }) => state.compare.models.includes(id));
  return [...own, ...others.map(({ id }) => [{ model: id, order: null, steps: null }])];
}

/** @param {import("./api.js").Fields} fields */
const labelOf = (fields) => `${titleOf(fields)}, ${summary(fields)}`;

/** Under every finished picture its seconds as a share of the longest. @param {Card[]} cards */
function bars(cards) {
  const longest = Math.max(...cards.map((card) => card.picture.seconds), 1e-9);
  for (const card of cards) card.element.style.setProperty("--time", String(card.picture.seconds / longest));
}
