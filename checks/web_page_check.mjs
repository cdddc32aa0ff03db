#!/usr/bin/env node
// The page of a folder of `polyhead export --web` in a real browser, from a plain static server, and then without any network.
//
//     apt-get install chromium                            # Debian; fonts-noto-color-emoji too, for emoji in the pictures
//     mkdir /tmp/page && (cd /tmp/page && npm install playwright-core)
//     polyhead export MODEL --web /tmp/web && (cd /tmp/web && npm install)
//     node checks/web_page_check.mjs /tmp/web --modules /tmp/page --screenshots FOLDER
//
// What the page shows is compared with what polyhead.mjs answers under Node from the same folder. Prints a line for each check; the
// exit code is 1 if one failed, if the console said anything, or if anything but the page's own server was asked. The screenshots are for
// looking at.

import { createReadStream, mkdirSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { screenshots: { type: "string", default: "page-screenshots" }, modules: { type: "string", default: "." }, chromium: { type: "string", default: "/usr/bin/chromium" } },
});
if (positionals.length !== 1) {
  console.error("usage: node web_page_check.mjs FOLDER [--screenshots FOLDER] [--modules FOLDER] [--chromium PROGRAM]");
  process.exit(2);
}
const folder = path.resolve(positionals[0]);
const { chromium } = createRequire(path.resolve(options.modules, "x.js"))("playwright-core");
mkdirSync(options.screenshots, { recursive: true });

let failures = 0;
function check(name, good, seen) {
  if (!good) failures += 1;
  console.log(`${good ? "ok  " : "FAIL"}  ${name}${good || seen === undefined ? "" : `: ${JSON.stringify(seen).slice(0, 800)}`}`);
}
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json", ".wasm": "application/wasm" };
const hidden = new Set(); // paths that the server does not have, for what the page says then
const server = createServer((request, answer) => {
  const name = decodeURIComponent(new URL(request.url, "http://x").pathname).replace(/\/$/, "/index.html");
  const file = path.join(folder, path.normalize(name));
  try {
    if (hidden.has(name)) throw new Error("hidden");
    answer.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "application/octet-stream", "content-length": statSync(file).size });
    createReadStream(file).pipe(answer);
  } catch {
    answer.writeHead(404).end("not found");
  }
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const base = `http://127.0.0.1:${server.address().port}/`;

const { Polyhead } = await import(pathToFileURL(path.join(folder, "polyhead.mjs")));
const model = await Polyhead.open(pathToFileURL(folder));

const browser = await chromium.launch({ executablePath: options.chromium, args: ["--no-sandbox", "--disable-gpu", "--disable-quic"] });
const noise = [];

async function open({ width = 1280, height = 900, scheme = "light", touch = false, quiet = true } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, hasTouch: touch, isMobile: touch, deviceScaleFactor: touch ? 2 : 1, permissions: ["clipboard-read", "clipboard-write"] });
  const page = await context.newPage();
  if (quiet) {
    // Without a network the browser misses the icon of its own tab; what else fails is reported with its address.
    page.on("console", (message) => /ERR_INTERNET_DISCONNECTED/.test(message.text()) || noise.push(`console ${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => noise.push(`uncaught: ${error}`));
    page.on("requestfailed", (request) => /icon\.svg$/.test(request.url()) || noise.push(`failed: ${request.url()}`));
  }
  context.on("request", (request) => new URL(request.url()).origin === new URL(base).origin || noise.push(`asked another host: ${request.url()}`));
  await page.goto(base);
  return page;
}

const ready = (page) => page.waitForFunction(() => document.querySelector("#ready").textContent.startsWith("Ready"), null, { timeout: 120_000 });

/** Types into the fields, presses the button and waits for the answer to these texts. */
async function ask(page, text, question = "") {
  await page.locator("#text").fill(text);
  if (await page.locator("#question").isVisible()) await page.locator("#question").fill(question);
  await page.evaluate(() => document.querySelector("#found").replaceChildren());
  await page.getByRole("button", { name: "Analyze" }).click();
  await page.waitForFunction(() => document.querySelector("#found .actions"), null, { timeout: 120_000 });
}

const READ = () => {
  const root = document.querySelector("#read");
  const offset = (node) => {
    const range = document.createRange();
    range.setStart(root, 0);
    range.setEndBefore(node);
    return range.toString().length;
  };
  const join = (pieces) => (pieces.length ? [offset(pieces[0]), pieces.map((piece) => piece.textContent).join("")] : null);
  const ids = root ? [...new Set([...root.querySelectorAll("mark.entity")].map((mark) => Number(mark.dataset.entity)))].sort((a, b) => a - b) : [];
  return {
    entities: ids.map((id) => join([...root.querySelectorAll(`mark[data-entity="${id}"]`)])),
    answer: root && join([...root.querySelectorAll("mark.answer")]),
    tables: [...document.querySelectorAll("#found .table:not(.long) table")].map((table) => [table.querySelector("caption").textContent, table.querySelector("tbody th")?.textContent]),
  };
};

/** What the page shows of a text is what the module answers. */
async function compare(page, name, text, question = "") {
  await ask(page, text, question);
  const seen = await page.evaluate(READ);
  const names = model.tasks.filter((task) => task.fields.every((field) => (field === "question" ? question : true))).map((task) => task.name);
  const { results, tokens } = await model.analyze({ text, ...(question && { question }), tasks: names, offset_unit: "utf16" });
  const all = Object.values(results);
  const spans = all.filter((one) => one.entities);
  if (spans.length === 1) check(`${name}: ${spans[0].entities.length} entities are marked where they are`, same(seen.entities, spans[0].entities.map(({ start, end }) => [start, text.slice(start, end)])), seen.entities);
  const best = all.find((one) => typeof one.answer === "string");
  if (best) check(`${name}: the answer "${best.answer.slice(0, 40)}" is marked in the text`, best.answer ? same(seen.answer, [best.start, text.slice(best.start, best.end)]) : seen.answer === null, seen.answer);
  for (const [task, { label }] of Object.entries(results).filter(([, one]) => one.labels)) check(`${name}: ${task} says "${label}" first`, seen.tables.some(([caption, first]) => caption.includes(`(${task})`) && first === label), seen.tables);
  const status = await page.locator("#status").textContent();
  check(`${name}: says tokens and time`, status.includes(`${new Intl.NumberFormat("en").format(tokens)} tokens`) && / (ms|s)$/.test(status.trim()), status);
}

const NEWS = "Landed in Tokyo 🗼✨ Maria 👩🏽‍🚀 flew in from Houston, Kenji 🇯🇵 came up from Osaka by train 🚄 — tomorrow we all visit the JAXA museum in Tsukuba 🚀🛰️!";

async function first() {
  const page = await open();
  check("says what it loads while it loads", await page.waitForFunction(() => /^(Loading the |Making the )/.test(document.querySelector("#loading-words").textContent)).then(() => true, () => false));
  await ready(page);
  check("says how much it loaded", /^Ready: \d+\.\d MB in \d+\.\d s\.$/.test(await page.locator("#ready").textContent()), await page.locator("#ready").textContent());
  check("says that texts stay here", /stay on this device/.test(await page.locator(".private").textContent()));
  await compare(page, "emoji", NEWS, "Where did Maria come from?");
  // From here on there is no network at all.
  await page.context().setOffline(true);
  server.closeAllConnections();
  await compare(page, "offline", "Ada Lovelace was born in London in 1815. Charles Babbage designed the Analytical Engine.", "Who designed the Analytical Engine?");
  await compare(page, "combining and CJK", "Zu\u0308rich, Cafe\u0301: 東京タワー, Kraków, وُلدت زها حديد في بغداد London");
  const long = `${"In June 1910 the Fram left Norway, and nobody on board but Roald Amundsen knew where she was bound. ".repeat(40)}At Funchal he told the crew. 🧊`;
  // The page goes on drawing while the worker computes.
  await page.evaluate(() => {
    window.longest = 0;
    let last = performance.now();
    const tick = (now) => {
      window.longest = Math.max(window.longest, now - last);
      last = now;
      window.ticking = requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  await compare(page, "a long text", long, "Who knew where she was bound?");
  const longest = await page.evaluate(() => (cancelAnimationFrame(window.ticking), window.longest));
  check(`the page never stood still for a second (longest ${longest.toFixed(0)} ms)`, longest < 1000, longest);
  await page.locator("#tab-model").click();
  await page.locator("#about table").first().waitFor();
  check("the model's view names its tasks", model.tasks.every(({ name }) => true) && (await page.locator("#about").textContent()).includes(model.tasks[0].name));
  await page.screenshot({ path: path.join(options.screenshots, "web-model.png"), fullPage: true });
  await page.context().close();
}

async function keyboard() {
  const page = await open();
  await ready(page);
  await page.locator("#text").focus();
  await page.keyboard.type("Ada lived in London.");
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => document.querySelector("#found .actions"));
  check("Ctrl+Enter asks", true);
  const unlabelled = await page.evaluate(() => [...document.querySelectorAll("input, textarea, progress")].filter((field) => !field.labels?.length).map((field) => field.id));
  check("every field has its label", unlabelled.length === 0, unlabelled);
  await page.locator("#text").fill("  ");
  await page.getByRole("button", { name: "Analyze" }).click();
  check("an empty text is asked for", /Type or paste a text/.test(await page.locator("#status").textContent()));
  await page.context().close();
}

async function looks() {
  for (const [name, settings] of Object.entries({ light: {}, dark: { scheme: "dark" }, phone: { width: 375, height: 740, touch: true }, "phone-dark": { width: 375, height: 740, touch: true, scheme: "dark" } })) {
    const page = await open(settings);
    await page.screenshot({ path: path.join(options.screenshots, `web-${name}-loading.png`) });
    await ready(page);
    await ask(page, NEWS, "Where did Maria come from?");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(`${name}: nothing wider than the window`, wide <= 0, wide);
    await page.screenshot({ path: path.join(options.screenshots, `web-${name}.png`), fullPage: true });
    await page.context().close();
  }
}

/** Files that are missing are named, with the way out; and trying again helps once they are there. */
async function broken() {
  for (const [name, hint] of [["/runtime/ort.wasm.bundle.min.mjs", "npm install"], ["/polyhead.onnx", "polyhead export"]]) {
    hidden.add(name);
    const page = await open({ quiet: false });
    await page.locator("#problem .what").waitFor();
    const words = await page.locator("#problem").textContent();
    check(`without ${name}: says so, and the way out`, words.includes(name.split("/").at(-1)) && words.includes(hint), words);
    if (name.startsWith("/runtime")) await page.screenshot({ path: path.join(options.screenshots, "web-problem.png") });
    hidden.delete(name);
    await page.getByRole("button", { name: "Try again" }).first().click();
    check(`${name} is there: trying again helps`, await ready(page).then(() => true, () => false));
    await page.context().close();
  }
}

for (const part of [first, keyboard, looks, broken]) {
  try {
    await part();
  } catch (error) {
    check(`${part.name} ran to its end`, false, String(error.stack ?? error).slice(0, 600));
  }
}
check("the console was silent, and no other host was asked for anything", noise.length === 0, noise.slice(0, 8));
await browser.close();
server.close();
await model.close();
console.log(failures ? `${failures} failed` : "all good");
process.exit(failures ? 1 : 0);
