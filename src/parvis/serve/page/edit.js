// Editing: paint what to draw anew, or drag a picture in a larger frame.

import { byId, complain, counted, filled, h } from "./dom.js";
import { show } from "./draw.js";
import { Easel } from "./easel.js";
import { asPng, fittedTo } from "./files.js";
import { choose } from "./panel.js";
import { fieldsOf } from "./params.js";
import { model, server, state, takeSeed } from "./state.js";

/** @type {Easel | null} */
let easel = null;

/** @type {import("./main.js").View} */
export const editing = {
  button() {
    if (never(model())) return null;
    return `${easel?.mode === "frame" ? "Outpaint" : "Redraw"} ${counted(state.n, "picture")}`;
  },
  open() {
    const [wide, high] = sizeOf(model());
    if (easel && (easel.picture.width !== wide || easel.picture.height !== high || easel.grid.width !== model().x_grid.width || easel.grid.height !== model().x_grid.height)) {
      byId("easel").replaceChildren((easel = null) ?? "");
    }
    limits();
    arrange();
  },
  missing() {
    const why = never(model());
    if (why) return why;
    if (!easel) return "Choose a picture to edit first.";
    if (easel.mode === "frame") return easel.frame.larger ? null : "Make the frame larger than the picture first.";
    return easel.mask.tokens(easel.grid).size ? null : "Paint over what to draw anew first.";
  },
  async run(signal) {
    if (!easel) return null;
    const framed = easel.mode === "frame";
    const fields = { ...fieldsOf({ seed: takeSeed(), n: state.n }), ...(framed ? { margins: easel.frame.margins } : {}) };
    const image = await asPng(easel.picture);
    const files = framed ? { image } : { image, mask: await asPng(easel.mask.asSent()) };
    return show(fields, files, signal, byId("edited"));
  },
};

/** Pixels of a model's pictures. @param {import("./api.js").Model} one */
const sizeOf = (one) => one.x_sizes[0].split("x").map(Number);

/** Why a model cannot draw part of a picture anew, if it cannot. @param {import("./api.js").Model} one */
export function never(one) {
  if (!one.x_grid.flat) return `${one.id} cannot edit: each of its scales covers the whole picture, so none of its tokens can be kept for a part.`;
  if (one.x_edits === "none") return `${one.id} cannot edit: it begins everywhere at once and takes no known tokens.`;
  return null;
}

/** Says what the model cannot do, and who can. */
function limits() {
  const one = model();
  const why = never(one);
  const partly = one.x_edits === "prefix" ? "This model draws in a fixed order: it can only redraw what comes last in it, such as the lower rows." : "";
  const box = byId("edit-limits");
  box.hidden = !why && !partly;
  box.classList.toggle("never", Boolean(why));
  byId("workshop").hidden = Boolean(why);
  const able = server.models.filter((other) => other !== one && other.x_edits === "any" && !never(other));
  box.replaceChildren(
    ...(why ? [h("h2", null, "Not with this model")] : []),
    h("p", null, why ?? partly),
    ...(able.length ? [h("p.examples", null, ...able.map((other) => h("button.chip", { type: "button", onclick: () => choose(other) }, `Edit with ${other.id}`)))] : []),
  );
}

/** Listens; called once. */
export function openEdit() {
  byId("edit-file").addEventListener("change", (/** @type {any} */ event) => event.target.files[0] && take(event.target.files[0]));
  byId("view-edit").addEventListener("dragover", (/** @type {DragEvent} */ event) => event.preventDefault());
  byId("view-edit").addEventListener("drop", (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    if (event.dataTransfer?.files[0]) take(event.dataTransfer.files[0]);
  });
  for (const mode of /** @type {const} */ (["brush", "eraser", "frame"])) byId(`mode-${mode}`).addEventListener("change", () => act((one) => (one.mode = mode)));
  byId("brush-size").addEventListener("input", (/** @type {any} */ event) => act((one) => (one.size = (one.picture.width * Number(event.target.value)) / 100)));
  byId("frame-size").addEventListener("input", (/** @type {any} */ event) => act((one) => one.frame.resize(Number(event.target.value))));
  byId("undo").addEventListener("click", () => act((one) => one.mask.undo()));
  byId("redo").addEventListener("click", () => act((one) => one.mask.undo(true)));
  byId("clear").addEventListener("click", () => act((one) => (one.mask.clear(), one.frame.reset())));
  byId("invert").addEventListener("click", () => act((one) => one.mask.invert()));
  byId("view-edit").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    act((one) => one.mask.undo(event.shiftKey));
  });
}

/** Puts a picture on the easel, its middle in the model's shape. @param {Blob} blob */
export async function take(blob) {
  const [wide, high] = sizeOf(model());
  try {
    easel = new Easel(fittedTo(await createImageBitmap(blob), wide, high), model().x_grid, arrange);
  } catch {
    return complain("This file is no picture that the browser can read.", "Choose a PNG, JPEG or WebP file.");
  }
  byId("easel").replaceChildren(easel.canvas);
  const chosen = /** @type {HTMLInputElement} */ (document.querySelector("[name=mode]:checked"));
  easel.mode = /** @type {import("./easel.js").Mode} */ (chosen.value);
  act(() => {});
}

/** @param {(easel: Easel) => unknown} what */
function act(what) {
  if (easel) what(easel);
  easel?.paint();
  arrange();
}

/** Shows the tools that fit, and what they have come to. */
function arrange() {
  const framed = easel?.mode === "frame";
  byId("edit-empty").hidden = Boolean(easel);
  byId("edit-tools").hidden = !easel;
  byId("brush-tools").hidden = Boolean(framed);
  byId("frame-tools").hidden = !framed;
  document.dispatchEvent(new Event("relabel"));
  if (!easel) return;
  byId("brush-size").value = String((100 * easel.size) / easel.picture.width);
  byId("frame-size").value = String(easel.frame.scale);
  for (const name of ["brush-size", "frame-size"]) filled(byId(name));
  byId("undo").disabled = !easel.mask.past.length;
  byId("redo").disabled = !easel.mask.future.length;
  const [left, top, right, bottom] = easel.frame.margins;
  const redrawn = easel.mask.tokens(easel.grid).size;
  byId("edit-told").replaceChildren(
    ...(framed ? ["adds ", h("b.figure", null, `${left}, ${top}, ${right}, ${bottom}`), " pixels left, top, right, bottom"] : [h("b.figure", null, redrawn), ` of ${model().x_grid.tokens} tokens are drawn anew`]),
  );
}
