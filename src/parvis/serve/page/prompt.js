// The prompt: words that the model knows are offered while typing, words that it does not know are marked at once.

import { byId, h } from "./dom.js";
import { model, server, set, state } from "./state.js";
import { completions, nearest, unknownWords, wordsOf } from "./words.js";

/** The box, its marks and its list of offers. */
export class Prompt {
  constructor() {
    this.box = byId("prompt");
    this.marks = byId("prompt-marks");
    this.list = byId("offers");
    this.unknown = byId("unknown");
    /** @type {string[]} */
    this.offers = [];
    this.chosen = -1;
    this.box.value = state.prompt;
    this.box.addEventListener("input", () => this.#typed());
    this.box.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    this.box.addEventListener("blur", () => this.#offer([]));
    this.box.addEventListener("scroll", () => (this.marks.scrollTop = this.box.scrollTop));
  }

  /** Shows the prompt that is set, marked for the words of the model. */
  show() {
    if (this.box.value !== state.prompt) this.box.value = state.prompt;
    this.#mark();
  }

  #typed() {
    set({ prompt: this.box.value.replaceAll("\n", " ") });
    const [typed] = this.#before().match(/[\p{L}\p{M}\p{N}-]+$/u) ?? [""];
    // a word that is understood as it stands needs no offers, which would lie over what comes next
    const open = typed && this.#checks() && unknownWords(this.#before(), server.words).includes(wordsOf(typed)[0]);
    this.#offer(open ? completions(typed, server.words) : []);
  }

  #checks() {
    return server.words.size > 0 && model().x_takes === "words";
  }

  #before() {
    return this.box.value.slice(0, this.box.selectionStart);
  }

  /** @param {string[]} words */
  #offer(words) {
    this.offers = words;
    this.chosen = -1;
    this.list.hidden = !words.length;
    this.box.setAttribute("aria-expanded", String(words.length > 0));
    this.box.removeAttribute("aria-activedescendant");
    const take = (/** @type {number} */ i) => (/** @type {Event} */ event) => (event.preventDefault(), this.#take(i));
    this.list.replaceChildren(
      ...words.map((word, i) => h(`li#offer-${i}`, { role: "option", "aria-selected": "false", onpointerdown: take(i) }, word)),
    );
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (!this.offers.length) return;
    const { key } = event;
    if (key === "ArrowDown" || key === "ArrowUp") this.#choose(this.chosen + (key === "ArrowDown" ? 1 : -1));
    else if (key === "Tab" && !event.shiftKey && this.chosen >= 0) this.#take(this.chosen);
    else if (key === "Enter" && this.chosen >= 0 && !event.ctrlKey && !event.metaKey) this.#take(this.chosen);
    else if (key === "Escape") this.#offer([]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} to */
  #choose(to) {
    this.chosen = (to + this.offers.length) % this.offers.length;
    this.box.setAttribute("aria-activedescendant", `offer-${this.chosen}`);
    [...this.list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === this.chosen)));
  }

  /** @param {number} i */
  #take(i) {
    const before = this.#before();
    const [typed] = before.match(/[\p{L}\p{M}\p{N}-]+$/u) ?? [""];
    this.box.setRangeText(`${this.offers[i]} `, before.length - typed.length, before.length, "end");
    this.#offer([]);
    set({ prompt: this.box.value });
  }

  /** Underlines what is not known and says what is near to it. */
  #mark() {
    const text = this.box.value;
    const unknown = this.#checks() ? unknownWords(text, server.words) : [];
    const isUnknown = (/** @type {string} */ part) => wordsOf(part).some((word) => unknown.includes(word));
    this.marks.replaceChildren(
      ...text.split(/(\s+)/).map((part) => (part.trim() && isUnknown(part) ? h("mark", null, part) : part)),
    );
    const told = [...new Set(unknown)].map((word) => this.#hint(word));
    const room = this.#checks() && text.trim() && !unknown.length;
    this.unknown.classList.toggle("wrong", told.length > 0);
    this.unknown.replaceChildren(...(told.length ? told : [room ? "All words are known." : ""]));
  }

  /** @param {string} word */
  #hint(word) {
    const swap = (/** @type {string} */ other) => () => {
      const exact = new RegExp(`(?<![\\p{L}\\p{M}\\p{N}])${word}(?![\\p{L}\\p{M}\\p{N}])`, "giu");
      set({ prompt: this.box.value.replace(exact, other) });
      this.box.focus();
    };
    const near = nearest(word, server.words);
    const buttons = near.map((other) => h("button.word", { type: "button", onclick: swap(other) }, other));
    return h("span.hint", null, h("b", null, word), near.length ? " is not known. Perhaps " : " is not known. ", ...buttons);
  }
}
