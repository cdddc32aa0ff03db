// A model of polyhead in a browser, in a worker or under Node: texts in, answers out, and nothing leaves the machine.
//
//   import { Polyhead } from "./polyhead.mjs";
//   const model = await Polyhead.open("./");                  // the folder that `polyhead export --web` wrote
//   model.tasks                                               // [{name, kind, shape, fields, labels, ...}], as /info of a server has them
//   await model.predict("ner", { text: "Ada lived in London." })
//   // -> {entities: [{type: "LOC", text: "London", start: 13, end: 19, score: 0.99}]}
//   await model.analyze({ text, question, offset_unit: "utf16" })   // every task that can answer, as POST /analyze of a server
//   // -> {results: {ner: {...}, qa: {...}}, tokens, seconds}
//   await model.close();
//
// `Polyhead.openInWorker(url)` has the same methods and computes in a worker, so that the page does not freeze.
//
// Which task is asked what, tokens, windows, offsets and answers are computed by polyhead_web.wasm: the same Rust code that `polyhead serve` runs.
// onnxruntime-web runs the network in between. Offsets count characters (Unicode code points) unless a request says
// `offset_unit: "utf16"`, as JavaScript's strings count, or "byte". Requests to one model are answered one after the other.

/** What went wrong with a request or a folder: the message, a `code` ("invalid", "internal", "unavailable") and, where there is one, a `hint`. */
export class Problem extends Error {
  constructor({ error, hint, code }) {
    super(error);
    this.name = "Problem";
    Object.assign(this, { hint: hint ?? null, code: code ?? "internal" });
  }
}

const MODULE = "polyhead_web.wasm";
const RUNTIME = ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"];
const NETWORK = "polyhead.onnx";
const isNode = typeof process !== "undefined" && Boolean(process.versions?.node);

/** A folder as an address that ends with a slash. */
function folderOf(url) {
  const base = globalThis.document?.baseURI ?? (isNode ? `file://${process.cwd()}/` : globalThis.location?.href);
  const whole = new URL(url, base);
  if (!whole.pathname.endsWith("/")) whole.pathname += "/";
  return whole;
}

/** The bytes of a file; `tell(loaded, total)` hears how far it is, `total` null where the server does not say. */
async function bytesOf(url, tell) {
  const name = url.pathname.split("/").at(-1);
  if (url.protocol === "file:" && isNode) {
    const { readFile } = await import("node:fs/promises");
    const bytes = await readFile(url).catch((cause) => missing(name, cause.message));
    tell(bytes.length, bytes.length);
    return bytes;
  }
  let response;
  try {
    response = await fetch(url);
  } catch (cause) {
    missing(name, cause.message);
  }
  if (!response.ok) missing(name, `the server answered ${response.status}`);
  // Of a compressed answer the length says nothing of what comes out of it.
  const said = response.headers.get("content-encoding") ? null : Number(response.headers.get("content-length")) || null;
  if (!response.body) return new Uint8Array(await response.arrayBuffer());
  let bytes = new Uint8Array(said ?? 1 << 20);
  let length = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (length + part.value.length > bytes.length) {
      const larger = new Uint8Array(Math.max(2 * bytes.length, length + part.value.length));
      larger.set(bytes.subarray(0, length));
      bytes = larger;
    }
    bytes.set(part.value, length);
    length += part.value.length;
    tell(length, said);
  }
  return bytes.subarray(0, length);
}

function missing(name, why) {
  const isRuntime = RUNTIME.includes(name);
  throw new Problem({
    error: `${isRuntime ? `runtime/${name}` : name} can't be loaded: ${why}`, code: "unavailable",
    hint: isRuntime ? "Run `npm install` once in the folder of the model: it brings ONNX Runtime." : "Is the folder whole, as `polyhead export --web` wrote it?",
  });
}

// ------------------------------------------------------------------------------------------------- the Rust side, as bytes

/** An instance of polyhead_web.wasm with a model opened in it. See crates/polyhead-web/src/call.rs for the calls. */
class Codec {
  constructor(module, files) {
    Object.assign(this, { module, files });
    this.#start();
  }

  /** What Rust's standard library asks of a system, of which it gets a clock and random numbers; what it writes are its last words. */
  #start() {
    let exports = null;
    this.words = "";
    const memory = () => new DataView(exports.memory.buffer);
    const system = {
      __proto__: null,
      random_get(at, length) {
        for (let from = 0; from < length; from += 65536) {
          crypto.getRandomValues(new Uint8Array(exports.memory.buffer, at + from, Math.min(65536, length - from)));
        }
        return 0;
      },
      clock_time_get(clock, precision, at) {
        memory().setBigUint64(at, BigInt(Math.round((clock ? performance.now() : Date.now()) * 1e6)), true);
        return 0;
      },
      environ_sizes_get(count, size) {
        memory().setUint32(count, 0, true);
        memory().setUint32(size, 0, true);
        return 0;
      },
      environ_get: () => 0,
      fd_write: (file, parts, count, written) => {
        let length = 0;
        for (let part = 0; part < count; part += 1) {
          const [at, size] = [0, 4].map((field) => memory().getUint32(parts + 8 * part + field, true));
          this.words += new TextDecoder().decode(new Uint8Array(exports.memory.buffer, at, size));
          length += size;
        }
        memory().setUint32(written, length, true);
        return 0;
      },
      proc_exit: () => {
        throw new WebAssembly.RuntimeError("exit");
      },
    };
    const NO_FILE = 8; // EBADF: there are no files here
    const imports = { __proto__: null };
    for (const { module, name } of WebAssembly.Module.imports(this.module)) (imports[module] ??= {})[name] = system[name] ?? (() => NO_FILE);
    exports = new WebAssembly.Instance(this.module, imports).exports;
    exports._initialize?.();
    this.exports = exports;
    const { config, tokenizer } = this.files;
    this.about = this.#bytes({ call: "open", config: config.length, tokenizer: tokenizer.length }, [config, tokenizer]);
  }

  #bytes(line, parts = []) {
    const head = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
    const length = parts.reduce((sum, part) => sum + part.length, head.length);
    let at = this.exports.polyhead_input(length);
    for (const part of [head, ...parts]) {
      new Uint8Array(this.exports.memory.buffer, at, part.length).set(part);
      at += part.length;
    }
    const size = this.exports.polyhead_call();
    const answer = new Uint8Array(this.exports.memory.buffer, this.exports.polyhead_output(), size);
    const value = JSON.parse(new TextDecoder().decode(answer));
    if (typeof value.error === "string") throw new Problem(value);
    return value;
  }

  /** A call; after a fault of the module the next one finds a new instance. */
  call(line, parts) {
    try {
      return this.#bytes(line, parts);
    } catch (cause) {
      if (cause instanceof Problem) throw cause;
      const [words] = this.words.trim().split("\n\n");
      this.#start();
      throw new Problem({ error: `a fault of polyhead: ${words || cause.message}`, code: "internal" });
    }
  }
}

// --------------------------------------------------------------------------------------------------------------- the model

const longs = (numbers) => BigInt64Array.from(numbers, BigInt);

/** A model that is open. */
export class Polyhead {
  #codec;
  #session;
  #runtime;
  #last = Promise.resolve();

  /**
   * Opens the folder that `polyhead export --web` wrote. Options:
   * `onprogress({file, loaded, total})` hears what is being loaded, in bytes (`total` is null where it is not known);
   * `threads`: how many compute. More than one needs a page that is cross-origin isolated; without it ONNX Runtime decides.
   * `runtime`: the folder with ONNX Runtime's files, if it is not `runtime/` beside this module.
   */
  static async open(url, { onprogress = () => {}, threads, runtime = new URL("runtime/", import.meta.url) } = {}) {
    const folder = folderOf(url);
    const load = (at, file) => bytesOf(new URL(file, at), (loaded, total) => onprogress({ file, loaded, total }));
    const config = await load(folder, "config.json");
    const tokenizer = await load(folder, "tokenizer.json");
    const info = JSON.parse(new TextDecoder().decode(await load(folder, "info.json")));
    const module = await load(new URL("./", import.meta.url), MODULE);
    const model = new Polyhead();
    model.#codec = new Codec(await WebAssembly.compile(module), { config, tokenizer });
    const { version, tasks } = model.#codec.about;
    if (info.version !== version) {
      throw new Problem({ error: `${MODULE} is of polyhead ${version}, the model folder of ${info.version}`, code: "unavailable", hint: "Export the model again." });
    }
    Object.assign(model, { info: { ...info, tasks }, tasks, version });
    runtime = folderOf(runtime);
    const [script, binary] = RUNTIME;
    const ort = await import(new URL(script, runtime).href).catch(() => missing(script, "it is not there, or no program"));
    ort.env.wasm.wasmBinary = (await load(runtime, binary)).slice().buffer;
    if (threads ?? (isNode ? 1 : undefined)) ort.env.wasm.numThreads = threads ?? 1;
    const network = await load(folder, NETWORK);
    onprogress({ file: null, loaded: 0, total: null }); // All is there: the network is made ready.
    try {
      model.#session = await ort.InferenceSession.create(network, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    } catch (cause) {
      throw new Problem({ error: `ONNX Runtime can't open the network: ${cause.message ?? cause}`, hint: "A device with little memory may not hold it." });
    }
    model.#runtime = ort;
    return model;
  }

  /** The same in a worker of its own. */
  static openInWorker(url, options = {}) {
    return RemotePolyhead.open(url, options);
  }

  /** The answer of one task, as the server gives it. `request` has the task's fields: {text}, or {question, context}. */
  async predict(task, request) {
    const { results } = await this.analyze({ ...request, tasks: [task] });
    return results[task];
  }

  /** The answers of several tasks to one request, in the form of POST /analyze. */
  analyze(request) {
    const answer = this.#last.then(() => this.#analyze(request));
    this.#last = answer.catch(() => {});
    return answer;
  }

  async #analyze(request) {
    if (!this.#session) throw new Problem({ error: "the model is closed", code: "unavailable" });
    const began = performance.now();
    let step = this.#codec.call({ call: "ask", request });
    while (step.runs) {
      const outputs = [];
      const numbers = [];
      for (const run of step.runs) {
        const found = await this.#run(run);
        outputs.push(run.outputs.map((name) => ({ dims: [...found[name].dims] })));
        for (const name of run.outputs) numbers.push(new Uint8Array(found[name].data.slice().buffer));
      }
      step = this.#codec.call({ call: "answer", outputs }, numbers);
    }
    return { ...step, seconds: (performance.now() - began) / 1000 };
  }

  /** One window through the network. */
  async #run({ ids, types, items, outputs }) {
    const { Tensor } = this.#runtime;
    const tokens = { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: types };
    const feeds = {};
    for (const name of this.#session.inputNames) {
      // A head that was not asked is computed all the same, and reads something.
      const pairs = items[name] ?? (name.endsWith(".ranges") ? [[0, 1]] : [[0, 0]]);
      feeds[name] = name in tokens ? new Tensor("int64", longs(tokens[name]), [1, ids.length]) : new Tensor("int64", longs(pairs.flat()), [1, pairs.length, 2]);
    }
    try {
      return await this.#session.run(feeds, outputs);
    } catch (cause) {
      throw new Problem({ error: `ONNX Runtime failed: ${cause.message ?? cause}` });
    }
  }

  /** Gives its memory back. */
  async close() {
    await this.#last;
    await this.#session?.release();
    this.#session = null;
  }
}

/** A model in a worker (worker.mjs): the same methods. */
class RemotePolyhead {
  #worker;
  #waiting = new Map();
  #next = 0;

  static async open(url, { onprogress = () => {}, ...options }) {
    const remote = new RemotePolyhead();
    remote.#worker = new Worker(new URL("worker.mjs", import.meta.url), { type: "module" });
    remote.#worker.addEventListener("message", ({ data: { id, progress, value, problem } }) => {
      if (progress) return onprogress(progress);
      const { resolve, reject } = remote.#waiting.get(id);
      remote.#waiting.delete(id);
      if (problem) reject(new Problem(problem));
      else resolve(value);
    });
    remote.#worker.addEventListener("error", (event) => {
      for (const { reject } of remote.#waiting.values()) reject(new Problem({ error: `the worker failed: ${event.message || "it can't be loaded"}`, code: "unavailable" }));
      remote.#waiting.clear();
    });
    if (options.runtime) options.runtime = String(folderOf(options.runtime));
    const about = await remote.#call("open", [String(folderOf(url)), options]);
    return Object.assign(remote, about);
  }

  #call(method, parameters) {
    const id = (this.#next += 1);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, parameters });
    });
  }

  predict(task, request) {
    return this.#call("predict", [task, request]);
  }

  analyze(request) {
    return this.#call("analyze", [request]);
  }

  async close() {
    await this.#call("close", []);
    this.#worker.terminate();
  }
}
