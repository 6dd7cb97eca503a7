// The classes that a model draws: their names and numbers, what is sent for one, and finding one by what is typed.

/** @typedef {import("./api.js").Model} Model */
/** @typedef {string | number | null} Label a class by name or number, as requests have it; `null` is none */

/** How many there are. @param {Model} model */
export const classCount = (model) => Math.max(model.x_class_count ?? 0, model.x_classes.length);

/** Whether they have names. @param {Model} model */
export const named = (model) => model.x_classes.length > 0;

/**
 * The number of a class, `null` where the model has no such one. Names go before numbers, as on the server.
 * @param {Model} model @param {Label} label @returns {number | null}
 */
export function classAt(model, label) {
  if (label === null || label === "") return null;
  if (typeof label === "string") {
    const exact = model.x_classes.indexOf(label);
    const alike = exact >= 0 ? exact : model.x_classes.findIndex((name) => name.toLowerCase() === label.toLowerCase());
    if (alike >= 0) return alike;
    if (!/^\d+$/.test(label)) return null;
  }
  const number = Number(label);
  return Number.isInteger(number) && number >= 0 && number < classCount(model) ? number : null;
}

/**
 * What a request says for class `at`: its name, which says more in files and histories, where that is enough.
 * @param {Model} model @param {number} at @returns {string | number}
 */
export function labelOf(model, at) {
  const name = model.x_classes[at];
  return name?.trim() && name.length <= 200 && model.x_classes.indexOf(name) === at ? name : at;
}

/** A class as it is shown. @param {Label | undefined} label */
export const classTitle = (label) => (typeof label === "number" ? `class ${label}` : (label ?? "no class"));

/**
 * Numbers of the classes whose name contains what is typed, or whose number begins so; names that begin so go first.
 * @param {Model} model @param {string} typed
 */
export function findClasses(model, typed) {
  const wanted = typed.trim().toLowerCase();
  const all = Array.from({ length: classCount(model) }, (_, at) => at);
  if (!wanted) return all;
  const names = model.x_classes.map((name) => name.toLowerCase());
  const rank = (/** @type {number} */ at) => (names[at]?.startsWith(wanted) || String(at) === wanted ? 0 : 1);
  const found = all.filter((at) => names[at]?.includes(wanted) || String(at).startsWith(wanted));
  return found.sort((a, b) => rank(a) - rank(b) || a - b);
}

/**
 * The class that a model keeps when another takes its place: that of the same name, or number where neither has names.
 * @param {Model} before @param {Model} next @param {Label} label @returns {Label}
 */
export function classKept(before, next, label) {
  const at = classAt(before, label);
  if (at === null) return null;
  if (!named(before)) return !named(next) && at < classCount(next) ? at : null;
  const same = next.x_classes.indexOf(before.x_classes[at]);
  return same >= 0 ? labelOf(next, same) : null;
}
