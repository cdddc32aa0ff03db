// Asks the model in this page's own worker, in the words of the server: what stands here in the place of api.js of `polyhead serve`.

import { Polyhead, Problem } from "../polyhead.mjs";

export { Problem };

/** No request goes over HTTP. */
export const HTTP = false;

/** What the page says while an answer is awaited. */
export const WAITING = "Computing in this browser …";

/** There is no server, and no key. */
export const authorization = () => ({});
export const hasKey = () => false;
export const useKey = () => {};

const NAMES = {
  __proto__: null,
  "config.json": "configuration", "tokenizer.json": "tokenizer", "info.json": "description", "polyhead_web.wasm": "polyhead",
  "ort-wasm-simd-threaded.wasm": "ONNX Runtime", "polyhead.onnx": "network",
};
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

const loaded = new Map(); // file -> bytes that are there
let opening = null;

/** Says what is loaded, and how much of it is there. */
function progress({ file, loaded: bytes, total }) {
  const bar = document.getElementById("loading-bar");
  const words = document.getElementById("loading-words");
  if (!file) {
    bar.removeAttribute("value");
    words.textContent = "Making the network ready …";
    return;
  }
  loaded.set(file, bytes);
  if (total) Object.assign(bar, { max: total, value: bytes });
  else bar.removeAttribute("value");
  words.textContent = `Loading the ${NAMES[file] ?? file}: ${megabytes(bytes)}${total ? ` of ${megabytes(total)}` : ""} …`;
}

function open() {
  const place = document.getElementById("loading");
  place.hidden = false;
  const began = performance.now();
  return Polyhead.openInWorker("./", { onprogress: progress }).then(
    (model) => {
      place.hidden = true;
      const bytes = [...loaded.values()].reduce((sum, one) => sum + one, 0);
      document.getElementById("ready").textContent = `Ready: ${megabytes(bytes)} in ${((performance.now() - began) / 1000).toFixed(1)} s.`;
      return model;
    },
    (problem) => {
      place.hidden = true;
      opening = null; // the next call tries again
      throw problem;
    },
  );
}

/** `info`, or `analyze` with a request: the answer, or a Problem. */
export async function call(path, body, signal) {
  const model = await (opening ??= open());
  signal?.throwIfAborted();
  if (path === "info") return model.info;
  const answer = model.analyze(body);
  if (!signal) return answer;
  // What the worker has begun it ends; nobody waits for it any more.
  return Promise.race([answer, new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }))]);
}
