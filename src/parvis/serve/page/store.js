// What is kept between visits: finished pictures with their settings, in the browser's database. Nothing leaves it.

import { Picture } from "./picture.js";

const NAME = "parvis";
const TABLE = "pictures";
const MOST = 400;

/** @typedef {{id: number, at: number} & Awaited<ReturnType<Picture["record"]>>} Kept */

/** Tells with `change` that something was kept or forgotten. */
export const changes = new EventTarget();

/** @type {Promise<IDBDatabase> | null} */
let opened = null;

/** @returns {Promise<IDBDatabase>} */
function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "id", autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/**
 * @template T
 * @param {IDBTransactionMode} mode @param {(table: IDBObjectStore) => IDBRequest<T>} action
 * @returns {Promise<T>}
 */
async function within(mode, action) {
  const table = (await database()).transaction(TABLE, mode).objectStore(TABLE);
  return new Promise((resolve, reject) => {
    const request = action(table);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

const changed = () => changes.dispatchEvent(new Event("change"));

/**
 * Keeps a finished picture; beyond `MOST` the oldest go. Where the browser keeps nothing, pictures live as long as the
 * page.
 * @param {Picture} picture
 */
export async function keep(picture) {
  try {
    const record = await picture.record();
    await within("readwrite", (table) => table.add({ at: Date.now(), ...record }));
    const ids = await within("readonly", (table) => table.getAllKeys());
    for (const id of ids.slice(0, Math.max(0, ids.length - MOST))) await within("readwrite", (table) => table.delete(id));
  } catch (error) {
    console.warn("this picture is not kept:", error);
  }
  changed();
}

/** All that is kept, newest first. @returns {Promise<Kept[]>} */
export async function kept() {
  try {
    return (await within("readonly", (table) => table.getAll())).reverse();
  } catch (error) {
    console.warn("the history cannot be read:", error);
    return [];
  }
}

/** @param {number} id */
export async function forget(id) {
  await within("readwrite", (table) => table.delete(id));
  changed();
}

export async function forgetAll() {
  await within("readwrite", (table) => table.clear());
  changed();
}
