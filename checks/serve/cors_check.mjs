#!/usr/bin/env node
// Pages of two sites ask a server in a real browser: one that the server names, and one that it does not.
//
//     apt-get install chromium                            # Debian
//     mkdir /tmp/page && (cd /tmp/page && npm install playwright-core)
//     node checks/serve/cors_check.mjs POLYHEAD MODEL --modules /tmp/page
//
// POLYHEAD is the binary, MODEL a model folder. The script starts the servers that it needs, without a key and with one, and
// two small sites on free ports of the loopback. Each site's page asks as any page does, with fetch: what it could read, and
// what the browser kept from it, is checked. Prints a line for each check; the exit code is 1 if one failed.

import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { modules: { type: "string", default: "." }, chromium: { type: "string", default: "/usr/bin/chromium" } },
});
if (positionals.length !== 2) {
  console.error("usage: node cors_check.mjs POLYHEAD MODEL [--modules FOLDER] [--chromium PROGRAM]");
  process.exit(2);
}
const { chromium } = createRequire(path.resolve(options.modules, "x.js"))("playwright-core");
const KEY = "0123456789abcdef0123456789abcdef";

let failures = 0;
function check(name, good, seen) {
  if (!good) failures += 1;
  console.log(`${good ? "ok  " : "FAIL"}  ${name}${good || seen === undefined ? "" : `: ${JSON.stringify(seen)}`}`);
}

/** A site of one empty page, on a port of its own. */
async function site() {
  const server = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html><title>A site</title>"));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** A server of the model; {url, stop}. */
async function serve(more, key) {
  const environment = { ...process.env, ...(key ? { POLYHEAD_API_KEY: key } : {}) };
  if (!key) delete environment.POLYHEAD_API_KEY;
  const child = spawn(positionals[0], ["serve", positionals[1], "--port", "0", "--quiet", ...more], { env: environment, stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = line.match(/^listening on (http:.*)$/)?.[1];
    if (url) return { url, stop: () => child.kill("SIGTERM") };
  }
  throw new Error("the server ended before it listened");
}

// Runs in the page: what it can read of an answer, or that the browser gave it nothing.
const ASK = async ([url, method, headers, body]) => {
  try {
    const answer = await fetch(url, { method, headers, body, cache: "no-store" });
    return { status: answer.status, body: await answer.json(), id: answer.headers.get("x-request-id"), retry: answer.headers.get("retry-after") };
  } catch (error) {
    return { kept: String(error) };
  }
};

const [named, foreign] = [await site(), await site()];
const browser = await chromium.launch({ executablePath: options.chromium, args: ["--no-sandbox"] });
const pages = {};
for (const [name, { origin }] of Object.entries({ named, foreign })) {
  pages[name] = await (await browser.newContext()).newPage();
  await pages[name].goto(origin);
}

const json = { "content-type": "application/json" };
const text = JSON.stringify({ text: "Ada Lovelace was born in London." });
for (const key of [undefined, KEY]) {
  // Upper case and a slash: the way people copy an address. One token may wait, so that a second request is turned away.
  const server = await serve(["--allow-origin", `${named.origin.toUpperCase()}/`, "--max-body", "4000000", "--max-queue", "1"], key);
  const where = key ? "with a key" : "without a key";
  const own = key ? { ...json, authorization: `Bearer ${key}` } : json;
  const ask = (page, method, address, headers, body) => pages[page].evaluate(ASK, [server.url + address, method, headers, body]);

  const analyzed = await ask("named", "POST", "/analyze", own, text);
  check(`${where}: a named site posts JSON and reads the answer`, analyzed.status === 200 && analyzed.body.results !== undefined, analyzed);
  check(`${where}: and the identifier of its request`, typeof analyzed.id === "string", analyzed);
  const again = await ask("named", "POST", "/analyze", { ...own, "x-request-id": "mine-7" }, text);
  check(`${where}: an identifier of its own comes back`, again.id === "mine-7", again);
  const info = await ask("named", "GET", "/info", key ? { authorization: own.authorization } : {}, undefined);
  check(`${where}: it reads what the server says of itself`, info.status === 200 && Array.isArray(info.body.tasks), info);
  const wrong = await ask("named", "POST", "/analyze", own, "{");
  check(`${where}: it reads that its request was wrong`, wrong.status === 400 && wrong.body.code === "bad_json", wrong);
  const nowhere = await ask("named", "POST", "/nowhere", own, text);
  check(`${where}: it reads that there is no such address`, nowhere.status === 404 && nowhere.body.code === "not_found", nowhere);
  const large = await ask("named", "POST", "/analyze", own, JSON.stringify({ text: "x".repeat(5_000_000) }));
  check(`${where}: it reads that the body was too large`, large.status === 413 && large.body.code === "too_large", large);
  if (key) {
    const missing = await ask("named", "POST", "/analyze", json, text);
    check("with a key: it reads that the key is missing", missing.status === 401 && missing.body.code === "unauthorized", missing);
  }
  // Long texts, many at a time: some are turned away, and the page reads for how long.
  const long = JSON.stringify({ text: "Ada Lovelace was born in London. ".repeat(1500) });
  const many = await Promise.all(Array.from({ length: 24 }, () => ask("named", "POST", "/analyze", own, long)));
  const turned = many.filter((one) => one.status === 429);
  check(`${where}: it reads that it was turned away, and for how long`, turned.length > 0 && turned.every((one) => Number(one.retry) > 0), many.map((one) => one.status ?? one.kept));
  check(`${where}: nothing was kept from it`, many.every((one) => one.status), many);

  for (const [what, method, address, headers, body] of [
    ["post JSON", "POST", "/analyze", own, text],
    ["post what needs no question before", "POST", "/analyze", { "content-type": "text/plain" }, text],
    ["read what the server says of itself", "GET", "/info", key ? { authorization: own.authorization } : {}, undefined],
  ]) {
    const kept = await ask("foreign", method, address, headers, body);
    check(`${where}: another site can't ${what}`, kept.kept !== undefined, kept);
  }
  server.stop();
}
await browser.close();
[named, foreign].forEach((one) => one.close());
console.log(failures ? `${failures} failed` : "all good");
process.exit(failures ? 1 : 0);
