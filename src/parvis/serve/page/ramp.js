// The colours of passes: from violet, written first, to yellow, written last. Even steps of lightness, so that the
// order can be read in grey too; the same colours as in the pictures of `parvis order`.

const HEX =
  "33035e 311975 262e86 084293 0b5789 0b678b 0f778e 148790 189792 1ba78f 1fb884 5ec477 8ccd6c b5d462 dcdb5f fee06d";
/** @type {number[][]} */
const COLOURS = HEX.split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

/**
 * @param {number} share 0 (first) to 1 (last)
 * @param {number} [alpha]
 * @returns {string} a CSS colour
 */
export function colour(share, alpha = 1) {
  const at = Math.min(Math.max(share, 0), 1) * (COLOURS.length - 1);
  const low = Math.min(Math.floor(at), COLOURS.length - 2);
  const [r, g, b] = COLOURS[low].map((value, i) => Math.round(value + (COLOURS[low + 1][i] - value) * (at - low)));
  return `rgb(${r} ${g} ${b} / ${alpha})`;
}

/** Whether white is the better ink on that colour. @param {number} share */
export const dark = (share) => share < 0.6;

/** On dark ground the darkest colours would not be seen. */
const least = () => (document.documentElement.dataset.theme === "dark" ? 0.16 : 0);

/** Share of the way of pass `pass` (from 1) of `total`. @param {number} pass @param {number} total */
export const share = (pass, total) => (total > 1 ? least() + ((1 - least()) * (pass - 1)) / (total - 1) : 1);
