// Asking the server for pictures: one after the other or several at once, waiting where it is full, until told to stop.

import { ApiError, draw } from "./api.js";
import { keep } from "./store.js";

const PATIENCE = 30;

/**
 * One request: its pictures are those of its seeds, in order.
 * @typedef {{fields: import("./api.js").Fields, files: import("./api.js").Files | null,
 *   pictures: import("./picture.js").Picture[]}} Job
 */

/**
 * Does all jobs. A job that fails leaves the others alone; its pictures say what was wrong.
 * @param {Job[]} jobs @param {AbortSignal} signal @param {number} [together] how many requests at once
 * @returns {Promise<Error | null>} the first error, if there was any
 */
export async function perform(jobs, signal, together = 1) {
  const waiting = [...jobs];
  /** @type {Error | null} */
  let first = null;
  const work = async () => {
    for (let job = waiting.shift(); job; job = waiting.shift()) {
      if (signal.aborted) leave(job, "cancelled");
      else first = (await one(job, signal)) ?? first;
    }
  };
  await Promise.all(Array.from({ length: Math.min(together, jobs.length) }, work));
  return first;
}

/** @param {Job} job @param {AbortSignal} signal @returns {Promise<Error | null>} */
async function one(job, signal) {
  try {
    await patiently(job, () => follow(job, signal), signal);
    return null;
  } catch (error) {
    if (signal.aborted) return leave(job, "cancelled");
    const told = error instanceof Error ? error : new Error(String(error));
    leave(job, "failed", told);
    return told;
  }
}

/** @param {Job} job @param {AbortSignal} signal */
async function follow(job, signal) {
  for await (const event of draw(job.fields, job.files, signal)) {
    const picture = job.pictures[event.x_index ?? 0];
    await picture.take(event);
    if (picture.status === "done") await keep(picture);
  }
  if (!job.pictures.every((picture) => picture.status === "done")) {
    throw new ApiError("The server ended before the picture was done.", { code: "ended" });
  }
}

/**
 * Tries again for as long as the server says that it is full, after the time that it names; its pictures say so meanwhile.
 * @param {Job} job @param {() => Promise<void>} attempt @param {AbortSignal} signal
 */
async function patiently(job, attempt, signal) {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 429 || tries === PATIENCE) throw error;
      for (const picture of job.pictures) if (!picture.over) hold(picture);
      await pause(Math.max(1, error.retryAfter) * 1000, signal);
    }
  }
}

/** @param {import("./picture.js").Picture} picture */
function hold(picture) {
  picture.held = true;
  picture.become("waiting");
}

/** @param {number} milliseconds @param {AbortSignal} signal */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/**
 * @param {Job} job @param {"cancelled" | "failed"} status @param {Error} [error] @returns {null}
 */
function leave(job, status, error) {
  for (const picture of job.pictures) if (!picture.over) picture.become(status, error);
  return null;
}
