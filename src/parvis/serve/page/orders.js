// What is known of the orders by name. An order that the server has and this table lacks is shown by its name alone.

/** @type {Record<string, {label: string, hint: string, fixed?: boolean}>} */
const KNOWN = {
  lpd: { label: "Locality (LPD)", hint: "each pass far from itself, near to what is known" },
  random: { label: "Random", hint: "any position, in groups that grow" },
  halton: { label: "Halton", hint: "spread evenly, like rain" },
  proximity: { label: "Proximity", hint: "near to what is known, nothing else" },
  repulsion: { label: "Repulsion", hint: "far from each other, nothing else" },
  raster: { label: "Raster", hint: "row by row, one token a pass", fixed: true },
  regions: { label: "Regions (PAR)", hint: "one token of every region at once", fixed: true },
  diagonals: { label: "Diagonals (NAR)", hint: "one diagonal a pass", fixed: true },
  scales: { label: "Scales", hint: "coarse to fine", fixed: true },
};
const ALIASES = ["par", "nar"];

/** Whether the order itself says how many passes there are. @param {string | null} name */
export const fixesSteps = (name) => Boolean(name && (KNOWN[name]?.fixed || ALIASES.includes(name)));

/** @param {string | null} name */
export const orderLabel = (name) => (name ? (KNOWN[name]?.label ?? name) : "Model's own");

/** @param {string} name */
export const orderHint = (name) => KNOWN[name]?.hint ?? "";

/**
 * The orders that a model may be asked for, well-known ones first, each once.
 * @param {import("./api.js").Model} model
 * @returns {string[]}
 */
export function ordersOf(model) {
  const offered = model.x_orders.filter((name) => !ALIASES.includes(name) && (name !== "scales" || !model.x_grid.flat));
  const rank = (/** @type {string} */ name) => (Object.keys(KNOWN).indexOf(name) + 100) % 100;
  return offered.sort((a, b) => rank(a) - rank(b));
}
