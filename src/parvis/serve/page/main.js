// Brings the page to life: views, the one run at a time, keys, and what a picture can be used for.

import { models, whenKeyIsWanted } from "./api.js";
import { repaint, setDeeds } from "./card.js";
import { comparing, openCompare } from "./compare.js";
import { announce, byId, complain, icon } from "./dom.js";
import { drawing, show as drawThese } from "./draw.js";
import { editing, never, openEdit, take } from "./edit.js";
import { gridding, openGrid } from "./grid.js";
import { looking, openHistory } from "./history.js";
import { listen, showKeys } from "./keys.js";
import { choose, openPanel } from "./panel.js";
import { fieldsOf, settingsOf } from "./params.js";
import { changes, missing, model, modelOf, randomSeed, server, set, state } from "./state.js";

/**
 * @typedef {{button: () => string | null, open: () => void, missing?: () => string | null, says?: () => boolean,
 *   run: (signal: AbortSignal) => Promise<Error | null>}} View says: whether it says itself what is drawn, and the panel need not
 */

/** @type {Record<string, View>} */
const VIEWS = { draw: drawing, compare: comparing, grid: gridding, edit: editing, history: looking };
const NAMES = Object.keys(VIEWS);
const KEPT = 0.5;

let current = "draw";
/** @type {AbortController | null} the run that goes on */
let running = null;
/** whether the page complains that nothing is said to be drawn */
let lacking = false;

/** @param {string} name */
function view(name) {
  current = NAMES.includes(name) ? name : "draw";
  document.body.dataset.view = current;
  for (const each of NAMES) {
    byId(`view-${each}`).hidden = each !== current;
    byId(`tab-${each}`).setAttribute("aria-selected", String(each === current));
    byId(`tab-${each}`).tabIndex = each === current ? 0 : -1;
  }
  if (location.hash !== `#${current}`) history.replaceState(null, "", `#${current}`);
  if (server.models.length) VIEWS[current].open();
  label();
}

/** What the button does now. */
function label() {
  const button = byId("go");
  const text = running ? "Cancel" : server.models.length ? VIEWS[current].button() : "Waiting for the server";
  button.hidden = text === null;
  button.disabled = !server.models.length;
  button.classList.toggle("stop", Boolean(running));
  byId("go-label").textContent = text ?? "";
  byId("go-keys").textContent = running ? "Esc" : "Ctrl ↵";
  byId("go-icon").replaceChildren(icon(running ? "stop" : "tokens"));
}

/** @param {(signal: AbortSignal) => Promise<Error | null>} what */
async function run(what) {
  complain(null);
  const mine = new AbortController();
  running = mine;
  label();
  try {
    const error = await what(mine.signal);
    if (error) complain(...worded(error));
    announce(mine.signal.aborted ? "Cancelled." : error ? "Some pictures failed." : "All done.");
  } catch (error) {
    complain(...worded(error));
  } finally {
    if (running === mine) running = null;
    label();
  }
}

/** @param {any} error @returns {[string, string?]} */
function worded(error) {
  const id = error?.id ? `(request ${error.id})` : undefined;
  return [String(error?.message ?? error), error?.status >= 500 ? id : undefined];
}

function go() {
  if (running) return running.abort();
  const view = VIEWS[current];
  if (view.button() === null) return;
  lacking = false;
  const lack = (current === "edit" ? view.missing?.() : null) ?? (view.says?.() ? null : unsaid()) ?? view.missing?.();
  if (lack) return complain(lack);
  run((signal) => view.run(signal));
}

/** What the panel does not say yet; then its field is gone to. */
function unsaid() {
  const lack = missing();
  lacking = Boolean(lack);
  if (lack && server.models.length) subject().focus();
  return lack;
}

/** The field that says what is drawn. */
const subject = () => byId(model().x_takes === "classes" ? "class" : "prompt");

setDeeds({
  canDraw: (picture) => Boolean(modelOf(picture.fields.model)),
  whyNotEdit(picture) {
    const one = modelOf(picture.fields.model);
    if (!one) return `${picture.fields.model} is not served here now`;
    return never(one) ?? (one.x_edits === "any" ? null : `${one.id} draws in a fixed order`);
  },
  async again(picture) {
    await elsewhere("draw", picture);
    if (!running) run((signal) => drawThese({ ...picture.fields, n: 1 }, null, signal));
  },
  async vary(picture) {
    await elsewhere("draw", picture);
    const fields = { ...fieldsOf({ seed: randomSeed(), n: state.n }), keep: KEPT };
    const image = /** @type {Blob} */ (picture.blob);
    if (!running) run((signal) => drawThese(fields, { image }, signal));
  },
  async edit(picture) {
    await elsewhere("edit", picture);
    await take(/** @type {Blob} */ (picture.blob));
    byId("easel").querySelector("canvas")?.focus();
  },
});

/** What the picture shows, as settings. @param {import("./picture.js").Picture} picture */
function wordsOf(picture) {
  const { prompt, classLabel } = settingsOf(picture.fields);
  return { ...(prompt === undefined ? {} : { prompt }), ...(classLabel === undefined ? {} : { classLabel }) };
}

/**
 * Goes to another view with a picture: its model is chosen, and draws what it showed.
 * @param {string} name @param {import("./picture.js").Picture} picture
 */
async function elsewhere(name, picture) {
  byId("detail").close();
  await choose(picture.fields.model, wordsOf(picture));
  view(name);
  scrollTo({ top: 0 });
}

/** @param {boolean} wrong @returns {Promise<string | null>} */
function askKey(wrong) {
  const dialog = byId("key-dialog");
  byId("key-wrong").hidden = !wrong;
  byId("key").value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok" ? byId("key").value.trim() : null), { once: true });
  });
}

/** Arrow keys among the tabs. @param {KeyboardEvent} event */
function along(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  view(NAMES[(NAMES.indexOf(current) + step + NAMES.length) % NAMES.length]);
  byId(`tab-${current}`).focus();
}

function overlay() {
  set({ overlay: !state.overlay });
  repaint();
}

function wire() {
  for (const name of NAMES) byId(`tab-${name}`).addEventListener("click", () => view(name));
  byId("tabs").addEventListener("keydown", along);
  byId("panel").addEventListener("submit", (/** @type {Event} */ event) => (event.preventDefault(), go()));
  byId("theme").addEventListener("click", () => (document.dispatchEvent(new Event("theme")), repaint()));
  byId("help").addEventListener("click", showKeys);
  byId("overlay").addEventListener("click", overlay);
  for (const form of document.querySelectorAll("dialog form")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const by = /** @type {HTMLButtonElement | null} */ (/** @type {SubmitEvent} */ (event).submitter);
      /** @type {HTMLDialogElement} */ (form.closest("dialog")).close(by?.value ?? "ok");
    });
  }
  addEventListener("hashchange", () => view(location.hash.slice(1)));
  document.addEventListener("relabel", label);
  document.addEventListener("model", () => view(current));
  changes.addEventListener("change", () => {
    byId("overlay").setAttribute("aria-pressed", String(state.overlay));
    if (lacking && !missing()) complain((lacking = false) || null);
    label();
  });
  listen([
    { keys: "Ctrl+Enter", does: "draw", act: () => running || go() },
    { keys: "Escape", does: "cancel what is being drawn", act: () => running?.abort() },
    { keys: "/", does: "to the prompt or the classes", act: () => subject().focus() },
    ...NAMES.map((name, i) => ({ keys: String(i + 1), does: `view: ${name}`, act: () => view(name) })),
    { keys: "O", does: "show the order over the pictures", act: overlay },
    { keys: "R", does: "another seed", act: () => set({ seed: randomSeed() }) },
    { keys: "L", does: "keep the seed, or a new one each run", act: () => set({ locked: !state.locked }) },
    { keys: "T", does: "light or dark", act: () => byId("theme").click() },
    { keys: "?", does: "this list", act: showKeys },
  ]);
}

async function start() {
  wire();
  openCompare();
  openGrid();
  openEdit();
  openHistory();
  whenKeyIsWanted(askKey);
  view(location.hash.slice(1));
  try {
    server.models = await models();
    await openPanel();
    document.body.dataset.ready = "yes";
  } catch (error) {
    document.body.dataset.ready = "no";
    const keyless = /** @type {any} */ (error)?.status === 401;
    if (keyless) complain("This server draws only for those who have its API key.", "Reload the page to give it.");
    else complain(`The server's models could not be read: ${worded(error)[0]}`, "Reload the page to try again.");
    byId("go-label").textContent = keyless ? "No API key" : "No server";
  }
}

// on a phone the settings would stand between the prompt and its pictures
const wide = matchMedia("(min-width: 901px)");
wide.addEventListener("change", () => (byId("settings").open = wide.matches));
byId("settings").open = wide.matches;
start();
