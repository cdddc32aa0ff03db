// Copies what the page needs of ONNX Runtime out of node_modules into runtime/: two files. `npm install` runs it.
// Then node_modules is not needed any more: the folder is static, and whole without it.

import { copyFileSync, mkdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = dirname(fileURLToPath(import.meta.url));
const from = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
mkdirSync(join(folder, "runtime"), { recursive: true });
for (const name of ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"]) {
  copyFileSync(join(from, name), join(folder, "runtime", name));
  console.log(`runtime/${name}: ${(statSync(join(from, name)).size / 1e6).toFixed(1)} MB`);
}
