// The worker of `Polyhead.openInWorker`: {id, method, parameters} -> {id, value} or {id, problem}; and {progress} while it opens.

import { Polyhead, Problem } from "./polyhead.mjs";

let model = null;

async function answer(method, parameters) {
  if (method !== "open") return model[method](...parameters);
  const [url, options] = parameters;
  model = await Polyhead.open(url, { ...options, onprogress: (progress) => postMessage({ progress }) });
  return { info: model.info, tasks: model.tasks, version: model.version };
}

addEventListener("message", async ({ data: { id, method, parameters } }) => {
  try {
    postMessage({ id, value: await answer(method, parameters) });
  } catch (cause) {
    const { message, hint, code } = cause;
    postMessage({ id, problem: { error: cause instanceof Problem ? message : `a fault of the page: ${message ?? cause}`, hint, code } });
  }
});
