// Choosing a class: a list with names that is searched by typing and walked by arrow keys; a number where there are no
// names.

import { classAt, classCount, findClasses, labelOf, named } from "./classes.js";
import { byId, counted, h } from "./dom.js";
import { model, set, state } from "./state.js";

/** The search box and the list under it, which is always open. */
export class ClassPicker {
  constructor() {
    this.box = byId("class");
    this.list = byId("classes");
    this.hint = byId("class-hint");
    /** @type {string | null} the model whose classes are listed */
    this.of = null;
    /** @type {number[]} numbers of the classes that are listed */
    this.found = [];
    /** the place in the list that the keys are at; -1 before they were used */
    this.at = -1;
    this.box.addEventListener("input", () => this.#typed());
    this.box.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    this.list.addEventListener("click", (/** @type {any} */ event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.#take(Number(option.dataset.at));
    });
    // a click keeps the caret where it is, so that typing and arrows go on
    this.list.addEventListener("pointerdown", (/** @type {Event} */ event) => event.preventDefault());
  }

  /** Shows the classes of the model, and the one that is chosen. */
  show() {
    const one = model();
    const listed = named(one);
    if (this.of !== one.id) {
      this.of = one.id;
      this.box.value = "";
      this.#find();
      requestAnimationFrame(() => this.#revealChosen());
    }
    const count = classCount(one);
    byId("class-box").dataset.listed = String(listed);
    this.box.hidden = count === 1;
    this.list.hidden = !listed || count === 1;
    this.box.setAttribute("aria-expanded", String(!this.list.hidden));
    const chosen = classAt(one, state.classLabel);
    if (!listed && document.activeElement !== this.box) this.box.value = chosen === null ? "" : String(chosen);
    this.box.placeholder = listed ? `Search ${count} classes` : `0 to ${count - 1}`;
    byId("class-name").textContent = chosen === null || !listed ? "" : one.x_classes[chosen];
    this.box.inputMode = listed ? "search" : "numeric";
    this.#mark(chosen);
    this.#say(chosen);
  }

  /** @param {number | null} chosen */
  #say(chosen) {
    const one = model();
    const typed = this.box.value.trim();
    const wrong = typed !== "" && (named(one) ? !this.found.length : chosen === null || classAt(one, typed) === null);
    this.hint.classList.toggle("wrong", wrong);
    if (classCount(one) === 1) this.hint.textContent = "This model draws one kind of picture: there is nothing to choose.";
    else if (!named(one)) this.hint.textContent = wrong ? `“${typed}” is no class: they are 0 to ${classCount(one) - 1}.` : "The classes of this model have numbers, but no names.";
    else if (wrong) this.hint.textContent = `No class is called like “${typed}”.`;
    else this.hint.textContent = typed ? `${this.found.length} of ${counted(classCount(one), "class", "classes")}` : "";
  }

  #typed() {
    const one = model();
    if (named(one)) {
      this.#find();
      this.#walk(this.box.value.trim() && this.found.length ? 0 : -1);
      this.#say(classAt(one, state.classLabel));
      return;
    }
    const at = classAt(one, this.box.value.trim());
    set({ classLabel: at });
  }

  /** Lists what fits what is typed. */
  #find() {
    const one = model();
    this.found = named(one) ? findClasses(one, this.box.value) : [];
    this.at = -1;
    this.list.replaceChildren(
      ...this.found.map((at) => h(`li#class-${at}`, { role: "option", "data-at": at, "aria-selected": "false" }, h("span", null, one.x_classes[at]), h("small", null, at))),
    );
    this.box.removeAttribute("aria-activedescendant");
    this.#mark(classAt(one, state.classLabel));
  }

  /** @param {number | null} chosen */
  #mark(chosen) {
    for (const option of this.list.children) option.setAttribute("aria-selected", String(Number(option.dataset.at) === chosen));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !named(model())) return;
    const last = this.found.length - 1;
    const here = this.at >= 0 ? this.at : this.found.indexOf(classAt(model(), state.classLabel) ?? -1);
    const { key } = event;
    if (key === "ArrowDown") this.#walk(Math.min(last, here + 1));
    else if (key === "ArrowUp") this.#walk(Math.max(0, here - 1));
    else if (key === "PageDown") this.#walk(Math.min(last, here + 6));
    else if (key === "PageUp") this.#walk(Math.max(0, here - 6));
    else if (key === "Enter" && this.at >= 0) this.#take(this.found[this.at]);
    else if (key === "Enter") this.#walk(last < 0 ? -1 : 0);
    else if (key === "Escape" && this.box.value) this.#clear();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #clear() {
    this.box.value = "";
    this.#find();
    this.show();
  }

  /** @param {number} to */
  #walk(to) {
    this.at = to;
    [...this.list.children].forEach((option, i) => option.classList.toggle("at", i === to));
    const option = this.list.children[to];
    if (!option) return this.box.removeAttribute("aria-activedescendant");
    this.box.setAttribute("aria-activedescendant", option.id);
    this.#reveal(option);
  }

  /** Scrolls the list, and nothing but the list, so far that it shows. @param {HTMLElement} option */
  #reveal(option) {
    const { list } = this;
    const top = option.offsetTop - list.offsetTop - list.clientTop;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + option.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top + option.offsetHeight - list.clientHeight;
  }

  /** @param {number} at */
  #take(at) {
    this.box.value = "";
    this.#find();
    set({ classLabel: labelOf(model(), at) });
    this.#revealChosen();
  }

  #revealChosen() {
    const option = this.list.querySelector("[aria-selected=true]");
    if (option) this.#reveal(option);
  }
}
