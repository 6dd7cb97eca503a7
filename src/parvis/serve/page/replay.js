// Playing the order of pictures again, any number of them side by side at the same pace: a step takes as long in each,
// so that whoever needs fewer is done sooner.

const FASTEST = 24;
const SLOWEST = 170;
/** Of a few steps, as of scales, each can be looked at. */
const FEW = 12;
const CALM = 420;
const WHOLE = 7000;

/** @typedef {{steps: number, show: (step: number, ring: boolean) => void}} Played */

/**
 * @param {Played[]} shown @param {AbortSignal} signal stops it where it is
 * @returns {Promise<void>} when all are shown whole
 */
export function play(shown, signal) {
  const passes = Math.max(0, ...shown.map((one) => one.steps));
  const pace = Math.min(passes <= FEW ? CALM : SLOWEST, Math.max(FASTEST, WHOLE / Math.max(1, passes)));
  return new Promise((resolve) => {
    /** @type {number | null} */
    let start = null;
    let before = -1;
    const tick = (/** @type {number} */ now) => {
      if (signal.aborted) return resolve();
      start ??= now;
      const pass = Math.min(passes, Math.floor((now - start) / pace));
      if (pass !== before) for (const one of shown) one.show(Math.min(pass, one.steps), pass <= one.steps);
      before = pass;
      if (pass < passes) return void requestAnimationFrame(tick);
      setTimeout(() => {
        if (!signal.aborted) for (const one of shown) one.show(one.steps, false);
        resolve();
      }, pace * 2);
    };
    requestAnimationFrame(tick);
  });
}

/** @type {AbortController | null} */
let current = null;

/** Plays these and stops whatever played before. @param {Played[]} shown */
export function playOnly(shown) {
  current?.abort();
  current = new AbortController();
  return play(shown, current.signal);
}
