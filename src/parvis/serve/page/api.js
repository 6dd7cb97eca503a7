// The public API, and nothing else of the server. Errors come as ApiError, out of the envelope that all routes share.

/**
 * @typedef {{id: string, x_system: string, x_sizes: string[], x_takes: "words" | "classes" | "features",
 *   x_grid: {width: number, height: number, tokens: number, flat: boolean, scales: [number, number][]},
 *   x_values: "codes" | "latents", x_passes_per_group: number | null, x_words: number, x_classes: string[],
 *   x_class_count: number,
 *   x_preset: {steps: number, guidance_scale: number, temperature: number, top_k: number, top_p: number},
 *   x_orders: string[], x_edits: "any" | "prefix" | "none", x_licence: string | null}} Model
 * @typedef {Record<string, any>} Fields the fields of a request
 * @typedef {{image: Blob, mask?: Blob}} Files
 */

const KEY = "parvis.key";
const PAGE = 1000;

/** An answer that is an error, or no answer. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, code?: string | null, param?: string | null, retryAfter?: number, id?: string}} [about]
   */
  constructor(message, about = {}) {
    super(message);
    this.name = "ApiError";
    this.status = about.status ?? 0;
    this.code = about.code ?? null;
    this.param = about.param ?? null;
    this.retryAfter = about.retryAfter ?? 0;
    this.id = about.id ?? "";
  }
}

/** @type {(wrong: boolean) => Promise<string | null>} */
let askForKey = async () => null;

/** @param {(wrong: boolean) => Promise<string | null>} ask called where the server wants a key */
export function whenKeyIsWanted(ask) {
  askForKey = ask;
}

/** @returns {Promise<Model[]>} */
export async function models() {
  return (await (await call("/v1/models")).json()).data;
}

/** All words that a model of captions knows. @param {string} model @returns {Promise<string[]>} */
export async function words(model) {
  const path = `/v1/models/${encodeURIComponent(model)}/words`;
  /** @type {string[]} */
  const all = [];
  for (let next = 0; next !== null; ) {
    const page = await (await call(`${path}?offset=${next}&limit=${PAGE}`)).json();
    all.push(...page.data);
    next = page.next;
  }
  return all;
}

/**
 * Draws, and gives every event of the stream as it comes. Leaving the loop or aborting closes the connection, which is
 * what cancels the request on the server.
 * @param {Fields} fields @param {Files | null} files of an edit
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Record<string, any>>}
 */
export async function* draw(fields, files, signal) {
  const asked = { ...fields, stream: true, x_partials: "all" };
  const response = files
    ? await call("/v1/images/edits", { method: "POST", body: form(asked, files), signal })
    : await call("/v1/images/generations", {
        method: "POST",
        body: JSON.stringify(asked),
        headers: { "content-type": "application/json" },
        signal,
      });
  for await (const event of events(response)) {
    if (event.type === "error") throw fault(event, event.status ?? 500, event.request_id ?? "");
    yield event;
  }
}

/** @param {Fields} fields @param {Files} files */
function form(fields, files) {
  const made = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    // a class whose name is a number is still a name
    made.append(name, typeof value === "string" && name !== "class_label" ? value : JSON.stringify(value));
  }
  made.append("image", files.image, "image.png");
  if (files.mask) made.append("mask", files.mask, "mask.png");
  return made;
}

/** The data of server-sent events; comments and unknown lines are passed over. @param {Response} response */
async function* events(response) {
  if (!response.body) throw new ApiError("the server's answer is empty");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await next(reader);
      if (done) return;
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const data = block.split("\n").filter((line) => line.startsWith("data:"));
        if (data.length) yield JSON.parse(data.map((line) => line.slice(5).trimStart()).join("\n"));
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** @param {ReadableStreamDefaultReader<string>} reader */
async function next(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (/** @type {any} */ (error)?.name === "AbortError") throw error;
    throw new ApiError("The connection to the server broke. Is it still running?", { code: "broken" });
  }
}

/**
 * A request that is answered well, with the key where there is one; asks for the key when it is wanted.
 * @param {string} path @param {RequestInit} [how] @returns {Promise<Response>}
 */
async function call(path, how = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...how.headers, ...(key ? { authorization: `Bearer ${key}` } : {}) };
    const response = await reach(path, { ...how, headers });
    if (response.ok) return response;
    if (response.status === 401) {
      const given = await askForKey(key !== null);
      if (given) {
        sessionStorage.setItem(KEY, given);
        continue;
      }
    }
    const wait = Number(response.headers.get("retry-after")) || 0;
    const body = await response.json().catch(() => ({}));
    throw fault(body, response.status, response.headers.get("x-request-id") ?? "", wait);
  }
}

/** @param {string} path @param {RequestInit} how */
async function reach(path, how) {
  try {
    return await fetch(path, how);
  } catch (error) {
    if (how.signal?.aborted) throw error;
    throw new ApiError("The server cannot be reached. Is it still running?", { code: "unreachable" });
  }
}

/** @param {any} body @param {number} status @param {string} id @param {number} [retryAfter] */
function fault(body, status, id, retryAfter) {
  const told = body?.error ?? {};
  const message = told.message ?? `The server answered with status ${status}.`;
  return new ApiError(message, { status, code: told.code, param: told.param, retryAfter, id });
}
