// Side by side: one prompt and seed in several orders and numbers of passes, one after the other, so that seconds can be
// compared.

import { Card } from "./card.js";
import { byId, counted, h, tool } from "./dom.js";
import { waitingBoard } from "./empty.js";
import { perform } from "./jobs.js";
import { orderHint, orderLabel, ordersOf } from "./orders.js";
import { fieldsOf, numbers, stepsAreFixed, summary, titleOf, valueOf } from "./params.js";
import { Picture } from "./picture.js";
import { playOnly } from "./replay.js";
import { model, set, state, takeSeed } from "./state.js";

/** @type {import("./main.js").View} */
export const comparing = {
  button: () => `Compare ${counted(cells().flat().length, "picture")}`,
  open() {
    const empty = byId("compare-empty");
    if (!empty.childElementCount) empty.append(waitingBoard(), h("p", null, "One prompt, one seed: rows are orders, columns are numbers of passes."));
    const chosen = state.compare.orders;
    byId("compare-orders").replaceChildren(
      ...["own", ...ordersOf(model())].map((name) => {
        const flip = () => {
          const orders = chosen.includes(name) ? chosen.filter((one) => one !== name) : [...chosen, name];
          set({ compare: { ...state.compare, orders } });
          comparing.open();
        };
        const box = h("input", { type: "checkbox", checked: chosen.includes(name), onchange: flip, value: name });
        return h("label.chip", { title: orderHint(name) }, box, orderLabel(name === "own" ? null : name));
      }),
    );
    byId("compare-steps").value = state.compare.steps;
    byId("compare-steps").placeholder = suggested();
  },
  missing() {
    if (!chosenOrders().length) return "Choose at least one order to compare.";
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
    const cards = rows.map((row) => row.map((fields) => new Card(new Picture(model().x_grid, fields), { small: true, label: labelOf(fields) })));
    const all = cards.flat();
    const [first] = rows.flat();
    const replay = tool("play", "Replay all side by side", () => playOnly(all));
    const header = h("header", null, h("h2", null, titleOf(first)), h("p.summary", null, `${first.model} · seed ${seed}`), replay);
    const lines = cards.map((row, i) =>
      h("div.row", null, h("h3", null, orderLabel(rows[i][0].order ?? null), h("span.hint", null, orderHint(rows[i][0].order ?? ""))), h("div.cells", null, ...row.map((card) => card.element))),
    );
    byId("compare-empty").hidden = true;
    byId("compared").replaceChildren(h("section.run.table", { "aria-label": "Compared" }, header, ...lines));
    for (const card of all) card.picture.addEventListener("change", () => bars(all));
    return perform(all.map(({ picture }) => ({ fields: picture.fields, files: null, pictures: [picture] })), signal);
  },
};

/** Listens to what is typed; called once. */
export function openCompare() {
  byId("compare-steps").addEventListener("input", (/** @type {any} */ event) => set({ compare: { ...state.compare, steps: event.target.value } }));
}

const chosenOrders = () => ["own", ...ordersOf(model())].filter((name) => state.compare.orders.includes(name));

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
  return chosenOrders().map((name) => {
    const order = name === "own" ? null : name;
    return stepsAreFixed(model(), order) ? [{ order, steps: null }] : counts.map((count) => ({ order, steps: count }));
  });
}

/** @param {import("./api.js").Fields} fields */
const labelOf = (fields) => `${titleOf(fields)}, ${summary(fields)}`;

/** Under every finished picture its seconds as a share of the longest. @param {Card[]} cards */
function bars(cards) {
  const longest = Math.max(...cards.map((card) => card.picture.seconds), 1e-9);
  for (const card of cards) card.element.style.setProperty("--time", String(card.picture.seconds / longest));
}
