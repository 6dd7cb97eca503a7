// What of a text the model understands: as `parvis/data/captions.py` reads captions, so that words that it does not
// know are marked while they are typed. The server has the last word; its note is shown with the picture.

const TONE =
  /(?<![\p{L}\p{N}_])(medium light|medium dark|light|medium|dark)(?: skin(?:ned)? tones?| skin(?:ned)?| complexion)(?![\p{L}\p{N}_])/gu;
const SMALL = "a an the of and with in for to at by is are its his her their some this that very";
const ABOUT = "emoji icon picture photo image drawing";
const IGNORED = new Set(`${SMALL} ${ABOUT}`.split(" "));
/** @type {Record<string, string>} */
const SPOKEN = { "*": " asterisk ", "#": " hash ", "&": " ", "+1": " plus one ", "-1": " minus one " };

/** Words in lower case, in order, without accents, signs and small words. @param {string} text @returns {string[]} */
export function wordsOf(text) {
  let read = SPOKEN[text] ?? text;
  for (const sign of "*#&") read = read.replaceAll(sign, SPOKEN[sign]);
  read = read.toLowerCase().normalize("NFKD").replace(/[\u0300-\u036f]/g, "");
  read = read.replace(/(?<=[\p{L}\p{N}_])['\u2018\u2019\u02bc.](?=[\p{L}\p{N}_])/gu, "");
  read = read.normalize("NFC").replace(/[^\p{L}\p{M}\p{N}]+/gu, " ").trim();
  read = read.replace(TONE, (_, tone) => `${tone.replace(" ", "_")}_skin`);
  return read.split(" ").map((word) => word.replaceAll("_", "-")).filter((word) => word && !IGNORED.has(word));
}

/** @param {string} word */
function formsOf(word) {
  const forms = [word];
  if (word.length > 3 && word.endsWith("s")) forms.push(word.slice(0, -1));
  if (word.length > 4 && word.endsWith("es")) forms.push(word.slice(0, -2));
  if (word.length > 4 && word.endsWith("ies")) forms.push(`${word.slice(0, -3)}y`);
  return [...forms, `${word}s`];
}

/** The words of a text that are not known, in order. @param {string} text @param {Set<string>} known */
export function unknownWords(text, known) {
  return wordsOf(text).filter((word) => !formsOf(word).some((form) => known.has(form)));
}

/**
 * Known words that are spelt alike, nearest first.
 * @param {string} word @param {Iterable<string>} known @param {number} [most]
 */
export function nearest(word, known, most = 3) {
  const furthest = word.length < 5 ? 1 : 2;
  /** @type {[number, string][]} */
  const found = [];
  for (const other of known) {
    if (Math.abs(other.length - word.length) > furthest) continue;
    const distance = apart(word, other);
    if (distance <= furthest) found.push([distance, other]);
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, most).map(([, other]) => other);
}

/** Edits between two words (Levenshtein). @param {string} a @param {string} b */
function apart(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + Number(a[i - 1] !== b[j - 1]));
    }
    row = next;
  }
  return row[b.length];
}

/**
 * Known words that begin as typed, shortest first; then those that contain it.
 * @param {string} typed @param {Iterable<string>} known @param {number} [most]
 */
export function completions(typed, known, most = 6) {
  const begin = typed.toLowerCase();
  if (!begin) return [];
  const fits = [...known].filter((word) => word.includes(begin) && word !== begin);
  const rank = (/** @type {string} */ word) => (word.startsWith(begin) ? 0 : 100) + word.length;
  return fits.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)).slice(0, most);
}
