// Asks the server of the page: GET and POST of JSON, with the API key where the server wants one.
//
// The page in a folder that `polyhead export --web` wrote has another file in the place of this one, which asks a model in the browser.

/** Whether requests go over HTTP: then they can be made with other programs, too. */
export const HTTP = true;

/** What the page says while an answer is awaited. */
export const WAITING = "Waiting for the server …";

let key = null; // in memory only: not in the address, not in any storage

/** What went wrong, in the server's form: {error, code, hint}, with the status and the seconds of Retry-After. */
export class Problem extends Error {
  constructor({ error, hint, code, status, retry }) {
    super(error);
    Object.assign(this, { hint, code, status, retry });
  }
}

export function authorization() {
  return key ? { authorization: `Bearer ${key}` } : {};
}

/** Seconds to wait, of a Retry-After in seconds or as a date. */
function retrySeconds(header) {
  if (!header) return null;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : Math.ceil((Date.parse(header) - Date.now()) / 1000);
  return Number.isFinite(seconds) ? Math.max(seconds, 1) : null;
}

/** Asks `path`, with a body or without: the JSON of the answer, or a Problem. */
export async function call(path, body, signal) {
  let response, text;
  try {
    response = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: { accept: "application/json", ...(body && { "content-type": "application/json" }), ...authorization() },
      body: body && JSON.stringify(body),
      cache: "no-store",
      signal,
    });
    text = await response.text();
  } catch (failure) {
    if (signal?.aborted) throw failure;
    throw new Problem({ error: "The server can't be reached.", hint: "Is polyhead serve still running, and this device still connected to it?" });
  }
  let value = null;
  try {
    value = JSON.parse(text);
  } catch {
    // A proxy's page, say. What follows speaks of it by its status.
  }
  if (response.ok && value && typeof value === "object") return value;
  const told = value && typeof value.error === "string";
  throw new Problem({
    error: told ? value.error
      : response.ok ? "The server's answer is not in JSON."
      : `The server answered ${response.status} ${response.statusText}`.trim() + ", and not why.",
    hint: told && typeof value.hint === "string" ? value.hint : null,
    code: told && typeof value.code === "string" ? value.code : null,
    status: response.status,
    retry: retrySeconds(response.headers.get("retry-after")),
  });
}

/** Whether requests carry a key. */
export const hasKey = () => key !== null;

/** From now on requests carry this key; an empty one is none. */
export function useKey(typed) {
  key = typed || null;
}
