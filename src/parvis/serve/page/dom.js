// Small helpers for making elements. Text is always text: nothing here reads HTML.

/**
 * An element: `h("button.quiet#go", {onclick, "aria-label": "Go"}, "Go")`. Properties that are functions become
 * listeners, `false` and `null` are left out, `true` is an empty attribute.
 * @param {string} spec tag, classes and id
 * @param {Record<string, any> | null} [props]
 * @param {...(Node | string | number | null | false | undefined)} children
 * @returns {any}
 */
export function h(spec, props, ...children) {
  const [tag] = spec.match(/^[a-z0-9]+/) ?? ["div"];
  const element = document.createElement(tag);
  for (const [part] of spec.slice(tag.length).matchAll(/[.#][\w-]+/g)) {
    if (part[0] === ".") element.classList.add(part.slice(1));
    else element.id = part.slice(1);
  }
  for (const [name, value] of Object.entries(props ?? {})) {
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== false && child !== undefined).map(asNode));
  return element;
}

/** @param {any} child */
const asNode = (child) => (child instanceof Node ? child : String(child));

/**
 * One of the drawings in index.html's sprite.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button that shows only a drawing; its name is read out and shown as a hint.
 * @param {string} drawing @param {string} name @param {(event: Event) => void} onclick
 * @param {Record<string, any>} [props]
 */
export function tool(drawing, name, onclick, props) {
  return h("button.tool", { type: "button", "aria-label": name, title: name, onclick, ...props }, icon(drawing));
}

/** @param {string} id @returns {any} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found;
}

/**
 * Says something to those who listen instead of looking.
 * @param {string} text
 */
export function announce(text) {
  byId("status").textContent = text;
}

/**
 * Shows an error until it is dismissed or the next run begins; `null` takes it away.
 * @param {string | null} text @param {string} [hint]
 */
export function complain(text, hint) {
  const box = byId("alert");
  box.replaceChildren();
  box.hidden = text === null;
  if (text === null) return;
  const close = tool("close", "Dismiss", () => complain(null));
  box.append(icon("warning"), h("p", null, text, hint ? h("span.hint", null, ` ${hint}`) : null), close);
}

/** Brings what was begun into view where it is not. @param {HTMLElement} run */
export function reveal(run) {
  const { top } = run.getBoundingClientRect();
  if (top < 0 || top > innerHeight * 0.75) run.scrollIntoView({ behavior: calm() ? "auto" : "smooth" });
}

/** Fills a slider up to its handle. @param {HTMLInputElement} range */
export function filled(range) {
  const [low, high] = [Number(range.min), Number(range.max)];
  range.style.setProperty("--at", `${((Number(range.value) - low) / (high - low)) * 100}%`);
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** @param {number} value seconds */
export const seconds = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(1)) + " s";
