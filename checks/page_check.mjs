#!/usr/bin/env node
// Uses the page of a running `polyhead serve` in a real browser, as people do, and looks at it.
//
//     apt-get install chromium curl                       # Debian; fonts-noto-color-emoji too, for emoji in the pictures
//     mkdir /tmp/page && (cd /tmp/page && npm install playwright-core)
//     polyhead serve MODEL --port 8080
//     node checks/page_check.mjs http://127.0.0.1:8080 --modules /tmp/page --screenshots FOLDER
//
// Any server that speaks docs/http.md and wants no key will do: what the page highlights is compared with what that server answered, read off
// the wire. What no server answers on demand (overlaps, errors, other kinds of tasks) is answered in its place by the browser.
// Prints a line for each check; the exit code is 1 if one failed, if the console said anything unexpected, or if the page
// asked another host for anything. The screenshots are for looking at.

import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { parseArgs, promisify } from "node:util";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { screenshots: { type: "string", default: "page-screenshots" }, modules: { type: "string", default: "." }, chromium: { type: "string", default: "/usr/bin/chromium" } },
});
if (positionals.length !== 1) {
  console.error("usage: node page_check.mjs URL [--screenshots FOLDER] [--modules FOLDER] [--chromium PROGRAM]");
  process.exit(2);
}
const base = new URL(positionals[0].endsWith("/") ? positionals[0] : `${positionals[0]}/`);
const { chromium } = createRequire(path.resolve(options.modules, "x.js"))("playwright-core");
const run = promisify(execFile);
mkdirSync(options.screenshots, { recursive: true });

let failures = 0;
function check(name, good, seen) {
  if (!good) failures += 1;
  console.log(`${good ? "ok  " : "FAIL"}  ${name}${good || seen === undefined ? "" : `: ${JSON.stringify(seen)}`}`);
}
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// -------------------------------------------------------------------------------------------------------------- a browser

const browser = await chromium.launch({ executablePath: options.chromium, args: ["--no-sandbox"] });
const noise = []; // what the console said, and requests to other hosts
const expected = []; // patterns of console lines that a check provokes: the browser itself reports failed requests

/** A page in a window of its own, watched from its first request on. */
async function open({ hash = "", width = 1280, height = 900, scheme = "light", motion = "no-preference", touch = false, before } = {}) {
  const context = await browser.newContext({
    viewport: { width, height }, colorScheme: scheme, reducedMotion: motion, hasTouch: touch, isMobile: touch, deviceScaleFactor: touch ? 2 : 1,
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const page = await context.newPage();
  const say = (line) => expected.some((pattern) => pattern.test(line)) || noise.push(line);
  page.on("console", (message) => say(`console ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => say(`uncaught: ${error}`));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== base.origin) noise.push(`asked another host: ${request.url()}`);
  });
  if (before) await before(page);
  const response = await page.goto(base.href + hash);
  await (hash === "#model" ? modelShown(page) : page.waitForFunction(() => document.querySelector("#served").textContent !== "One encoder, many heads." || document.querySelector("#problem").textContent));
  page.first = response;
  return page;
}

/** Waits until the model's view is filled, the report in its frame or the words in its place included. */
async function modelShown(page) {
  await page.waitForFunction(() => document.querySelector("#about table") && document.querySelector("#report > *"));
  if (await page.locator("#report iframe").count()) await page.frameLocator("#report iframe").locator("h1").first().waitFor();
}

async function picture(page, name, full = true) {
  if (full) await page.evaluate(() => scrollTo({ top: 0, behavior: "instant" }));
  await page.screenshot({ path: path.join(options.screenshots, `${name}.png`), fullPage: full });
}

/** Clicks or presses what `act` does and waits for the answer of /analyze to be on the page: {sent, answer}. */
async function asked(page, act) {
  const [response] = await Promise.all([page.waitForResponse((one) => one.url() === `${base.href}analyze` && one.ok()), act()]);
  const answer = await response.json();
  await page.waitForFunction(() => document.querySelector("#found .actions"));
  await page.waitForTimeout(50);
  return { sent: response.request().postDataJSON(), answer };
}

async function fill(page, text, question = "") {
  await page.locator("#text").fill(text);
  if (await page.locator("#question").isVisible()) await page.locator("#question").fill(question);
}

/** Puts a text on the clipboard and presses Ctrl+V in the field. */
async function paste(page, text) {
  await page.evaluate((value) => navigator.clipboard.writeText(value), text);
  await page.locator("#text").focus();
  await page.keyboard.press("Control+A");
  await page.keyboard.press("Control+V");
}

const go = (page) => () => page.getByRole("button", { name: "Analyze" }).click();

// What is highlighted, read off the page: the whole text, the pieces of each entity put together, where they begin, and the answer.
const READ = () => {
  const root = document.querySelector("#read");
  if (!root) return null;
  const offset = (node) => {
    const range = document.createRange();
    range.setStart(root, 0);
    range.setEndBefore(node);
    return range.toString().length;
  };
  const join = (selector) => {
    const pieces = [...root.querySelectorAll(selector)];
    return pieces.length ? { start: offset(pieces[0]), text: pieces.map((piece) => piece.textContent).join("") } : null;
  };
  const ids = [...new Set([...root.querySelectorAll("mark.entity")].map((mark) => Number(mark.dataset.entity)))].sort((a, b) => a - b);
  return {
    text: root.textContent,
    entities: ids.map((id) => ({ ...join(`mark[data-entity="${id}"]`), labels: [...root.querySelectorAll(`mark[data-entity="${id}"][data-label]`)].map((mark) => mark.dataset.label) })),
    answer: join("mark.answer"),
  };
};

/** Compares what the page shows with what the server answered: the very characters, at the very place, under the right label. */
async function compare(page, name, { sent, answer }) {
  const seen = await page.evaluate(READ);
  const results = Object.values(answer.results);
  const entities = results.flatMap((result) => result.entities ?? []);
  const best = results.find((result) => typeof result.answer === "string");
  check(`${name}: asks with UTF-16 offsets`, sent.offset_unit === "utf16", sent);
  check(`${name}: the rendered text is the text sent`, seen?.text === sent.text, seen?.text);
  check(`${name}: the server's offsets name its words`, entities.every((one) => sent.text.slice(one.start, one.end) === one.text), entities);
  check(`${name}: ${entities.length} entities highlighted, each exactly the slice that the server named`,
    same(seen?.entities.map(({ start, text, labels }) => [start, text, labels]), entities.map((one) => [one.start, sent.text.slice(one.start, one.end), [one.type]])), seen?.entities);
  const counts = await page.locator(".types button").evaluateAll((all) => Object.fromEntries(all.map((button) => [button.dataset.label, Number(button.querySelector("b").textContent)])));
  const real = {};
  for (const { type } of entities) real[type] = (real[type] ?? 0) + 1;
  check(`${name}: counts per type`, Object.keys(real).every((type) => real[type] === counts[type]) && Object.keys(counts).length === Object.keys(real).length, counts);
  if (!entities.length && results.some((result) => result.entities)) check(`${name}: says that there are none`, /no entities found/i.test(await page.locator("#status").textContent()));
  if (best) {
    const slice = sent.text.slice(best.start, best.end);
    check(`${name}: the answer "${slice.slice(0, 40)}" is highlighted where the server put it`, slice ? seen?.answer?.start === best.start && seen.answer.text === slice : seen?.answer === null, seen?.answer);
    const first = page.locator(".answers li").first();
    check(`${name}: the answer and its score are written out`, best.answer ? (await first.textContent()).includes(best.answer) && /%$/.test(await first.locator(".score").textContent()) : /no answer/.test(await first.textContent()));
  }
  return { entities, best };
}

/** No element wider than the window; boxes that scroll on their own may hold wider things. */
async function fitsWindow(page, name) {
  const over = await page.evaluate(() => {
    const wide = document.documentElement.clientWidth;
    const out = [...document.body.querySelectorAll("*")].filter((e) => !e.closest(".table, .tree-frame, pre, .unseen, [hidden]") && e.getBoundingClientRect().right > wide + 1);
    return [document.documentElement.scrollWidth - wide, ...out.slice(0, 4).map((e) => `${e.tagName}.${e.className}`)];
  });
  check(`${name}: nothing wider than the window`, over[0] <= 0 && over.length === 1, over);
}

// Whether the characters of each line stand in the order in which they stand in a copy without marks, and each mark is one
// box, its label beside its text. Lines are made long enough to break nowhere: it is the order that is compared.
const ORDER = () => {
  const read = document.querySelector("#read");
  const orderOf = (root) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const places = [];
    const range = document.createRange();
    for (let node = walker.nextNode(), at = 0; node; at += node.length, node = walker.nextNode()) {
      for (let i = 0; i < node.length; i += 1) {
        range.setStart(node, i);
        range.setEnd(node, i + 1);
        const box = range.getBoundingClientRect();
        if (box.width > 0.5 && node.data[i].trim()) places.push([Math.round(box.top / 20), box.left, node.data[i]]);
      }
    }
    return places.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([line, , letter]) => `${line}${letter}`).join("").replace(/\d+(?=\D)/g, "");
  };
  const plain = read.cloneNode();
  plain.textContent = read.textContent;
  for (const one of [read, plain]) one.style.setProperty("width", "4000px");
  read.after(plain);
  const [a, b] = [orderOf(read), orderOf(plain)];
  const torn = [...read.querySelectorAll("mark")].filter((mark) => {
    const boxes = [...mark.getClientRects()].filter((box) => box.width > 0.5).sort((a, b) => a.left - b.left);
    return boxes.some((box, i) => i > 0 && box.left > boxes[i - 1].right + 1);
  }).map((mark) => `torn: ${mark.textContent}`);
  plain.remove();
  read.style.removeProperty("width");
  return a === b ? torn : [a, b, ...torn];
};

// The contrast of every text with what is behind it, the drawn labels included, by WCAG's formula; colours are read off a canvas.
const CONTRAST = () => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    const drawn = node.dataset?.label && node.tagName === "MARK" && getComputedStyle(node, "::after").content !== "none";
    if ((!own && !drawn) || !node.checkVisibility() || node.closest(".unseen")) continue;
    const behind = [];
    for (let one = node; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
    for (const pseudo of [own && null, drawn && "::after"].filter((one) => one !== false && one !== undefined)) {
      const ground = light(over(behind)), text = light(over([...behind, getComputedStyle(node, pseudo).color]));
      found.push([(Math.max(ground, text) + 0.05) / (Math.min(ground, text) + 0.05), `${node.tagName}.${node.className}${pseudo ?? ""} ${node.textContent.slice(0, 30)}`]);
    }
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, 3).map(([ratio, what]) => [Number(ratio.toFixed(2)), what]);
};

// -------------------------------------------------------------------------------------------------------------- the checks

const info = await (await fetch(new URL("info", base))).json();
const hasQuestion = info.tasks.some((task) => task.fields.includes("question"));
const question = (words) => (hasQuestion ? words : "");

const NEWS = "Angela Merkel met the mayor of Lyon in Berlin on Tuesday, and Siemens signed a contract with the city.";
const EMOJI = "👩🏽‍🚀 Maria flew from Tokyo 🗼 to Paris 🇫🇷✨ and on to 𝔹𝕖𝕣𝕝𝕚𝕟 with NASA 🚀🚀 in é́ May.";
const ARABIC = "وُلدت زها حديد في بغداد عام 1950، ثم أسست شركة Zaha Hadid Architects في London.\nשָׁלוֹם from Tel Aviv to Baghdad.";
const HOSTILE = `<img src=x onerror="window.hit=1"> Ada <b>London</b> </textarea><script>window.hit=1</script> & &amp; "quoted" 'single' \${x}`;

async function firstLook() {
  const page = await open();
  const headers = page.first.headers();
  check("the page comes with a strict content security policy", /default-src 'none'/.test(headers["content-security-policy"]) && !/unsafe/.test(headers["content-security-policy"]), headers["content-security-policy"]);
  check("tabs have their roles", (await page.getByRole("tab").count()) === 2 && (await page.getByRole("tab", { name: "Try it", selected: true }).count()) === 1 && (await page.getByRole("tabpanel", { name: "Try it" }).count()) === 1);
  check("fields have labels", (await page.getByRole("textbox", { name: "Text", exact: true }).count()) === 1 && (await page.getByRole("textbox", { name: /Question/ }).count()) === (hasQuestion ? 1 : 0));
  check("live regions: one for results, one for errors", (await page.locator("#status[role=status]").count()) === 1 && (await page.locator("#problem[role=alert]").count()) === 1);
  check("at least five examples", (await page.locator("#examples button").count()) >= 5);
  await picture(page, "01-first");
  await go(page)();
  check("an empty text is told in words, and asks nothing", /text/i.test(await page.locator("#status").textContent()) && (await page.evaluate(() => document.activeElement.id)) === "text");
  await page.context().close();
}

async function typing() {
  const page = await open();
  await page.locator("#text").click();
  await page.keyboard.type(NEWS);
  const first = await asked(page, () => page.keyboard.press("Control+Enter"));
  let last = first;
  const { entities } = await compare(page, "typed, Ctrl+Enter", first);
  check("something is found in a plain news sentence", entities.length > 0 || !info.tasks.some((task) => task.shape === "spans"));
  check("nothing typed appears in the address or in storage", await page.evaluate(() => !location.search && localStorage.length === 0 && sessionStorage.length === 0 && document.cookie === ""));
  if (hasQuestion) {
    await page.locator("#question").fill("Who met the mayor of Lyon?");
    last = await asked(page, () => page.locator("#question").press("Enter"));
    await compare(page, "question, Enter", last);
    const runners = page.locator(".answers li button");
    for (let rank = 0; rank < Math.min(await runners.count(), 4); rank += 1) {
      const button = runners.nth(rank);
      await button.click();
      const [start, end] = await button.evaluate((one) => [Number(one.dataset.start), Number(one.dataset.end)]);
      const seen = await page.evaluate(READ);
      check(`choosing answer ${rank + 1} highlights it`, (end > start ? seen.answer?.start === start && seen.answer.text === NEWS.slice(start, end) : seen.answer === null) && seen.text === NEWS
        && (await button.getAttribute("aria-pressed")) === "true" && (await page.locator(".answers [aria-pressed=true]").count()) === 1, seen.answer);
    }
  }
  if (entities.length) {
    await page.locator("mark.entity").first().hover();
    check("the score shows on hover", /%/.test(await page.locator("#tip").textContent()) && (await page.locator("#tip").isVisible()));
    await picture(page, "02-typed-tip");
    await page.keyboard.press("Escape");
    check("Escape hides it", await page.locator("#tip").isHidden());
    const button = page.locator(".types button").first();
    const type = await button.getAttribute("data-label");
    await button.click();
    check("a type can be hidden", (await page.locator("mark.entity.off").count()) > 0 && (await button.getAttribute("aria-pressed")) === "false" && (await page.locator(`mark.entity:not(.off)[data-label="${type}"]`).count()) === 0);
    await button.click();
    check("and shown again", (await page.locator("mark.entity.off").count()) === 0);
  }
  await page.getByRole("button", { name: "Copy as JSON" }).click();
  const copied = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
  check("Copy as JSON copies the answer", same(copied, last.answer), copied);
  check("and says so", /Copied/.test(await page.locator("#said").textContent()));
  await page.locator("#text").press("End");
  await page.keyboard.type(" More.");
  check("an edit after the result is told", /edited/.test(await page.locator("#status").textContent()));
  await page.context().close();
}

/** In a text that is longer than the window: each answer that is chosen comes into sight, with text above and below it. */
async function scrolling() {
  const text = "One line of the text, as long as many another. ".repeat(160);
  const at = [0.02, 0.5, 0.97].map((share) => text.indexOf("text", Math.floor(share * text.length) - 40));
  const [first, ...rest] = at.map((start, rank) => ({ answer: "text", start, end: start + 4, score: 0.5 - rank / 10 }));
  const page = await open({ height: 500, motion: "reduce", before: (page) => answerWith(page, (route) => route.fulfill(json(200, { results: { qa: { ...first, alternatives: rest } }, tokens: 5, seconds: 0.01 }))) });
  await fill(page, text, question("Which?"));
  await asked(page, go(page));
  for (const rank of [1, 2, 0]) {
    await page.locator(".answers li button").nth(rank).click();
    await page.waitForTimeout(100);
    const box = await page.locator("mark.answer").boundingBox();
    check(`scrolling: answer ${rank + 1} is in sight, away from the edges`, box && box.y >= 50 && box.y + box.height <= 450, box);
  }
  await page.context().close();
}

async function scripts() {
  const page = await open();
  await paste(page, EMOJI);
  if (hasQuestion) await page.locator("#question").fill("Where did Maria fly?");
  await compare(page, "emoji pasted", await asked(page, go(page)));
  await picture(page, "03-emoji");
  await paste(page, ARABIC);
  if (hasQuestion) await page.locator("#question").fill("Where is the company?");
  await compare(page, "right-to-left pasted", await asked(page, go(page)));
  check("a right-to-left paragraph begins at the right", await page.evaluate(() => {
    const range = document.createRange();
    range.setStart(document.createTreeWalker(document.querySelector("#read"), 4).nextNode(), 0);
    range.setEnd(range.startContainer, 1);
    const box = document.querySelector("#read").getBoundingClientRect();
    return range.getBoundingClientRect().right > box.left + box.width * 0.7;
  }));
  const apart = await page.evaluate(ORDER);
  check("labels change nothing in the order of the characters on the lines", apart.length === 0, apart);
  await picture(page, "04-right-to-left");
  await fill(page, HOSTILE, question("Where is <script>window.hit=1</script>?"));
  await compare(page, "hostile text", await asked(page, go(page)));
  await page.waitForTimeout(200);
  check("markup in a text is text", await page.evaluate(() => window.hit === undefined && !document.querySelector("#found img, #found script, #found b:not(.types b):not(.tip b)")));
  await picture(page, "05-hostile");
  for (const button of await page.locator("#examples button").all()) {
    const name = (await button.textContent()).trim();
    await compare(page, `example ${name}`, await asked(page, () => button.click()));
    await picture(page, `06-example-${name.replace(/\W+/g, "-").replace(/^-|-$/g, "").toLowerCase() || "other"}`);
  }
  await page.context().close();
}

async function keyboardOnly() {
  const page = await open();
  const at = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
  const tabTo = async (id) => {
    for (let press = 0; press < 40; press += 1) {
      await page.keyboard.press("Tab");
      if ((await at()) === id) return true;
    }
    return false;
  };
  check("keyboard: the first stop is the chosen tab", (await page.keyboard.press("Tab"), await at()) === "tab-try");
  check("keyboard: then the text", (await page.keyboard.press("Tab"), await at()) === "text");
  await page.keyboard.insertText(NEWS);
  if (hasQuestion) {
    check("keyboard: the question is reached", await tabTo("question"));
    await page.keyboard.insertText("Who met the mayor?");
  } else await tabTo("Analyze");
  await compare(page, "keyboard", await asked(page, () => page.keyboard.press("Enter")));
  const marks = await page.locator("mark.entity").count();
  if (marks) {
    let reached = false;
    for (let press = 0; press < 25 && !reached; press += 1) {
      await page.keyboard.press("Tab");
      reached = await page.evaluate(() => document.activeElement.matches("mark.entity"));
    }
    check("keyboard: an entity is reached", reached);
    check("keyboard: its score shows on focus, as its description", (await page.locator("#tip").isVisible()) && /%/.test(await page.locator("#tip").textContent()) && (await page.evaluate(() => document.activeElement.getAttribute("aria-describedby"))) === "tip");
    check("keyboard: the focus can be seen", await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== "none"));
    const order = [];
    for (let step = 0; step < marks; step += 1) {
      order.push(await page.evaluate(() => Number(document.activeElement.dataset.entity)));
      await page.keyboard.press("ArrowRight");
    }
    check("keyboard: the arrow keys go through all of them", same(order, [...Array(marks).keys()]), order);
    await picture(page, "07-keyboard");
  }
  await page.locator("#tab-try").focus();
  await page.keyboard.press("ArrowRight");
  await modelShown(page);
  check("keyboard: an arrow key changes the tab and the address", (await page.getByRole("tabpanel", { name: "Model" }).isVisible()) && page.url().endsWith("#model") && (await at()) === "tab-model");
  await page.keyboard.press("ArrowRight");
  check("keyboard: and back, with the result still there", (await page.locator("#read").isVisible()) && page.url().endsWith("#try"));
  await page.context().close();
}

async function curlCommands() {
  const page = await open();
  const text = `It's "Paris" — $HOME, \`id\`, \\n, !x\nsecond line, O'Brien in London.\n`;
  await fill(page, text, question("What's in 'London'?"));
  const { answer } = await asked(page, go(page));
  await page.locator("#curl summary").click();
  const commands = await page.locator("#curl pre").allTextContents();
  check("curl: /analyze and a Hugging Face form for each task", commands.length === 1 + info.tasks.filter((task) => task.pipeline).length, commands);
  for (const command of commands) {
    const value = JSON.parse((await run("bash", ["-c", command])).stdout);
    if (command.includes("analyze")) check("curl: the shell sends the same request", same(value.results, answer.results), value);
    else if (Array.isArray(value?.[0])) check("curl: Hugging Face form of text classification", value.length === 1 && value[0].every((one) => typeof one.label === "string" && one.score >= 0 && one.score <= 1), value);
    else if (Array.isArray(value)) check("curl: Hugging Face form of token classification", value.every((one) => [...text].slice(one.start, one.end).join("") === one.word), value);
    else check("curl: Hugging Face form of question answering", typeof value.answer === "string" && [...text].slice(value.start, value.end).join("") === value.answer, value);
  }
  await page.locator("#curl button").first().click();
  check("curl: copied as shown", (await page.evaluate(() => navigator.clipboard.readText())) === commands[0]);
  await picture(page, "08-curl");
  await page.context().close();
}

/** Answers /analyze in the server's place. */
const answerWith = (page, reply) => page.route("**/analyze", (route) => reply(route));
const json = (status, body, headers = {}) => ({ status, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });

async function errors() {
  expected.push(/console error: Failed to load resource/);
  const page = await open();
  const trouble = page.locator("#problem");
  async function see(name, reply, patterns, again) {
    await page.unroute("**/analyze");
    await answerWith(page, reply);
    await fill(page, "London", "");
    await go(page)();
    await page.waitForFunction(() => document.querySelector("#problem").textContent);
    const words = await trouble.innerText();
    check(`error ${name}: told in words`, patterns.every((pattern) => pattern.test(words)), words);
    check(`error ${name}: ${again ? "offers" : "does not offer"} to try again`, (await trouble.getByRole("button").count()) === (again ? 1 : 0));
    check(`error ${name}: no result beside it`, (await page.locator("#read").count()) === 0);
    await picture(page, `09-error-${name}`);
    await page.evaluate(() => document.querySelector("#problem").replaceChildren());
  }
  await see("422", (route) => route.fulfill(json(422, { error: "The text has 9 characters <b>too</b> many.", code: "invalid", hint: "Send a shorter one." })), [/9 characters <b>too<\/b> many/, /Send a shorter one/, /invalid/], false);
  await see("429", (route) => route.fulfill(json(429, { error: "The queue is full.", code: "overloaded" }, { "retry-after": "7" })), [/queue is full/, /7 seconds/], true);
  await see("502", (route) => route.fulfill({ status: 502, contentType: "text/html", body: "<h1>Bad gateway</h1>" }), [/502/], true);
  await see("html", (route) => route.fulfill({ status: 200, contentType: "text/html", body: "<h1>Hello</h1>" }), [/not in JSON/], false);
  await see("network", (route) => route.abort("connectionrefused"), [/can't be reached/, /running/], true);
  await page.unroute("**/analyze");
  await fill(page, NEWS, "");
  await compare(page, "after the errors", await asked(page, go(page)));
  check("a good answer takes the error away", (await trouble.textContent()) === "");
  await page.context().close();
}

async function keyed() {
  const seen = [];
  const guard = (route) => {
    const header = route.request().headers().authorization;
    seen.push(header ?? null);
    if (header === "Bearer s3cret") return route.request().url().endsWith("info") ? route.fulfill(json(200, info)) : route.fulfill(json(200, { results: { ner: { entities: [{ type: "LOC", text: "London", start: 0, end: 6, score: 0.9 }] } }, tokens: 3, seconds: 0.001 }));
    return route.fulfill(json(401, { error: "This server wants an API key.", code: "unauthorized", hint: "Send authorization: Bearer KEY." }));
  };
  const page = await open({ before: async (page) => (await page.route("**/info", guard), await page.route("**/analyze", guard)) });
  check("key: the field appears when the server wants one", await page.locator("#key-form").isVisible());
  check("key: it has the focus and hides what is typed", await page.evaluate(() => document.activeElement.id === "key" && document.activeElement.type === "password"));
  await picture(page, "10-key");
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#problem").textContent);
  check("key: a wrong one is told, and the field stays", await page.locator("#key-form").isVisible());
  await page.locator("#key").fill("s3cret");
  await page.keyboard.press("Enter");
  await page.locator("#key-form").waitFor({ state: "hidden" });
  await fill(page, "London calling", "");
  await asked(page, go(page));
  check("key: sent as a bearer token", seen.at(-1) === "Bearer s3cret", seen);
  check("key: nowhere but in memory", await page.evaluate(() => localStorage.length === 0 && sessionStorage.length === 0 && !document.cookie && !location.href.includes("s3cret") && !document.querySelector("#found").textContent.includes("s3cret")));
  await page.locator("#curl summary").click();
  check("key: curl takes it from a variable", (await page.locator("#curl pre").first().textContent()).includes('"authorization: Bearer $POLYHEAD_KEY"'));
  const sent = [];
  await page.route("**/report", (route) => {
    sent.push(route.request().headers().authorization ?? null);
    return route.fulfill({ status: 200, contentType: "text/html", body: `<!doctype html><title>r</title><style>h1 { color: rgb(1, 2, 3) }</style><h1>Run of the day</h1><script>document.title = "hit"</script>` });
  });
  expected.push(/Content Security Policy|sandboxed/);
  await page.locator("#tab-model").click();
  await modelShown(page);
  const heading = page.frameLocator("#report iframe").locator("h1");
  check("key: the report opens in its frame, with its own style", (await heading.textContent()) === "Run of the day" && (await heading.evaluate((one) => getComputedStyle(one).color)) === "rgb(1, 2, 3)" && same(sent, ["Bearer s3cret"]), sent);
  const [alone] = await Promise.all([page.context().waitForEvent("page"), page.getByRole("button", { name: "Open the report alone" }).click()]);
  await alone.locator("h1").waitFor();
  check("key: and alone, without the key in its address and without a script", (await alone.locator("h1").textContent()) === "Run of the day" && !alone.url().includes("s3cret") && (await alone.title()) === "r", [alone.url(), await alone.title()]);
  await page.context().close();
}

/** Spans as no model should give them and some do; each must come out as its own slice. */
async function shapes() {
  const text = "University of London, NewYorkParis and the end: Rome";
  const span = (type, words, from = 0, score = 0.9) => ({ type, text: words, start: text.indexOf(words, from), end: text.indexOf(words, from) + words.length, score });
  const all = [span("ORG", "University of London"), span("LOC", "London"), span("LOC", "NewYork"), span("MISC", "YorkParis"), span("LOC", "Paris"), span("LOC", "Rome"), span("ORG", "Rome"),
    span("PER", "the end"), span("ODD <b>", "and", 0, 0.00001), span("constructor", "of", 0, 0.5), span("DATE", "end: Rome", 0, 1)];
  let reply = { results: { ner: { entities: all }, qa: { answer: "of London, NewYork", start: 11, end: 29, score: 0.8, alternatives: [{ answer: "London", start: 14, end: 20, score: 0.1 }, { answer: text, start: 0, end: text.length, score: 0.05 }, { answer: "", start: 0, end: 0, score: 0.02 }, { answer: "beyond", start: 50, end: 99, score: 0.01 }] } }, tokens: 12, seconds: 0.0031 };
  const both = { ...info, tasks: [{ name: "ner", kind: "ner", shape: "spans", fields: ["text"], labels: ["LOC", "ORG", "PER", "MISC"] }, { name: "qa", kind: "qa", shape: "candidates", fields: ["question", "context"], defaults: { context: "text" }, labels: [] }] };
  const page = await open({ before: async (page) => (await page.route("**/info", (route) => route.fulfill(json(200, both))), await answerWith(page, (route) => route.fulfill(json(200, reply)))) });
  await fill(page, text, "Which?");
  await asked(page, go(page));
  const whole = async (name, answer) => {
    const seen = await page.evaluate(READ);
    check(`shapes, ${name}: the text is whole`, seen.text === text, seen.text);
    check(`shapes, ${name}: nested, crossing, equal and last spans are their slices, each labelled once`, same(seen.entities.map(({ start, text, labels }) => [start, text, labels]), all.map((one) => [one.start, one.text, [one.type]])), seen.entities);
    check(`shapes, ${name}: the answer is its slice`, answer === null ? seen.answer === null : seen.answer?.text === answer, seen.answer);
  };
  await whole("answer across entities", "of London, NewYork");
  await picture(page, "11-shapes");
  for (const [rank, answer] of [[1, "London"], [2, text], [3, null]]) {
    await page.locator(".answers li button").nth(rank).click();
    await whole(`answer ${rank + 1}`, answer);
    await picture(page, `11-shapes-answer-${rank + 1}`);
  }
  check("shapes: a place outside the text is left out and said", (await page.locator(".answers li").count()) === 4 && /1 place outside/.test(await page.locator("#status").textContent()));
  check("shapes: a hostile type is text", (await page.locator(".types button", { hasText: "ODD <b>" }).count()) === 1 && (await page.locator("#found bdi b").count()) === 0);
  const looks = await page.locator(".types button").evaluateAll((buttons) => buttons.map((one) => `${getComputedStyle(one.querySelector("i")).borderBottomColor} ${getComputedStyle(one.querySelector("i")).borderBottomStyle}`));
  check("shapes: no two types look the same", new Set(looks).size === looks.length, looks);
  reply = { results: { ner: { entities: [] }, qa: { answer: "", start: 0, end: 0, score: 0.7, alternatives: [] } }, tokens: 4, seconds: 0.001 };
  await asked(page, go(page));
  check("empty results are told", /No entities found/.test(await page.locator("#status").textContent()) && /no answer/.test(await page.locator(".answers").textContent()) && (await page.locator("#read").textContent()) === text);
  await picture(page, "12-empty");
  await page.context().close();
}

/** Models with one task, and with tasks that the page does not know. */
async function otherModels() {
  const one = (tasks, results) => open({ before: async (page) => (await page.route("**/info", (route) => route.fulfill(json(200, { ...info, tasks }))), await answerWith(page, (route) => route.fulfill(json(200, { results, tokens: 5, seconds: 0.002 })))) });
  const rome = { entities: [{ type: "city", text: "Rome", start: 0, end: 4, score: 0.97 }] };
  let page = await one([{ name: "names", kind: "ner", shape: "spans", fields: ["text"], labels: ["city"] }], { names: rome });
  check("ner alone: no question is asked for", await page.locator("#question").isHidden());
  await fill(page, "Rome wasn't built in a day.");
  const { sent } = await asked(page, go(page));
  check("ner alone: the task is called by its name", same(sent.tasks, ["names"]) && !("question" in sent), sent);
  check("ner alone: highlighted", (await page.locator("mark.entity").textContent()) === "Rome");
  await page.context().close();

  page = await one([{ name: "reader", kind: "qa", shape: "candidates", fields: ["question", "context"], defaults: { context: "text" }, labels: [] }], { reader: { answer: "Rome", start: 0, end: 4, score: 0.6, alternatives: [] } });
  await page.locator("#text").fill("Rome wasn't built in a day.");
  await go(page)();
  check("qa alone: asks for a question in words", /question/.test(await page.locator("#status").textContent()) && (await page.evaluate(() => document.activeElement.id)) === "question");
  await page.locator("#question").fill("What was not built in a day?");
  await asked(page, go(page));
  check("qa alone: highlighted, no types, no word of entities", (await page.locator("mark.answer").textContent()) === "Rome" && (await page.locator(".types").count()) === 0 && !/entit/.test(await page.locator("#status").textContent()));
  await page.context().close();

  page = await one([{ name: "a", kind: "ner", shape: "spans", fields: ["text"], labels: ["city"] }, { name: "b", kind: "ner", shape: "spans", fields: ["text"], labels: ["city"] }, { name: "tone", kind: "classification", fields: ["text"], labels: ["good"] }, { name: "pair", kind: "pairs", fields: ["left", "right"], labels: [] }],
    { a: rome, b: rome, tone: { label: "<i>good</i>", score: 0.8 } });
  await fill(page, "Rome wasn't built in a day.");
  const many = await asked(page, go(page));
  check("other kinds: asked if the text is all they need", same(many.sent.tasks, ["a", "b", "tone"]), many.sent);
  check("other kinds: shown as JSON", (await page.locator("#found section pre").textContent()).includes('"label": "<i>good</i>"'));
  check("two tasks of one kind: labels say whose they are", same(await page.locator("mark[data-label]").evaluateAll((all) => all.map((one) => one.dataset.label)), ["a: city", "b: city"]));
  await picture(page, "13-other-kinds");
  await page.context().close();

  // Shapes that are drawn as tables, and a task with two texts of its own.
  const end = (text, start) => ({ text, start, end: start + text.length });
  page = await one([{ name: "topic", kind: "x", shape: "labels", fields: ["text"], labels: ["<b>", "city"] }, { name: "who", kind: "y", shape: "edges", fields: ["text"], labels: [] },
    { name: "parse", kind: "z", shape: "tree", fields: ["text"], labels: [] }, { name: "pair", kind: "w", shape: "labels", fields: ["text", "text_pair"], labels: [] }],
  { topic: { label: "<b>", score: 0.7, labels: [{ label: "<b>", score: 0.7 }, { label: "city", score: 0.3 }] },
    who: { edges: [{ type: "in", from: end("Rome", 0), to: end("day", 23), score: 0.5 }] },
    parse: { words: [{ ...end("Rome", 0), head: 2, label: "nsubj", score: 0.9 }, { ...end("fell", 5), head: 0, label: "root", score: 0.8 }] } });
  await fill(page, "Rome wasn't built in a day.");
  const shaped = await asked(page, go(page));
  const rows = await page.locator("#found .table").evaluateAll((all) => all.map((one) => [...one.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent))));
  check("tables: asked without the pair, whose second text is empty", same(shaped.sent.tasks, ["topic", "who", "parse"]), shaped.sent);
  check("tables: labels, edges and trees", same(rows, [[["<b>", "70.0%"], ["city", "30.0%"]], [["Rome", "in", "day", "50.0%"]], [["1 Rome", "nsubj", "2 fell", "90.0%"], ["2 fell", "root", "root", "80.0%"]]]), rows);
  await page.locator("#field-text_pair").fill("Rome was built slowly.");
  const paired = await asked(page, go(page));
  check("a second text has its own input", paired.sent.text_pair === "Rome was built slowly." && paired.sent.tasks.includes("pair"), paired.sent);
  await picture(page, "13-tables");
  await page.context().close();
}

async function racing() {
  let calls = 0;
  const release = [];
  const page = await open({ motion: "reduce", before: (page) => answerWith(page, async (route) => {
    calls += 1;
    const words = route.request().postDataJSON().text;
    if (calls === 1) await new Promise((done) => release.push(done));
    await route.fulfill(json(200, { results: { ner: { entities: [{ type: "LOC", text: words, start: 0, end: words.length, score: 0.9 }] } } })).catch(() => {});
  }) });
  const failed = [];
  page.on("requestfailed", (request) => failed.push(request.failure().errorText));
  await fill(page, "slow");
  await go(page)();
  await page.waitForFunction(() => document.querySelector("#result").getAttribute("aria-busy") === "true");
  check("waiting: told in words, and quietly", /Waiting/.test(await page.locator("#status").textContent()));
  await page.waitForFunction(() => /[1-9] s/.test(document.querySelector("#status").textContent));
  check("waiting: the seconds are counted, for those who see them", await page.locator("#status [aria-hidden=true]").count() === 1);
  check("waiting: nothing moves for those who asked for less motion", await page.evaluate(() => document.getAnimations().length === 0));
  await picture(page, "14-waiting");
  await fill(page, "quick");
  await asked(page, go(page));
  release.forEach((done) => done());
  await page.waitForTimeout(300);
  await page.unroute("**/analyze");
  await answerWith(page, async (route) => { await new Promise((done) => release.push(done)); await route.abort().catch(() => {}); });
  await fill(page, "never");
  await go(page)();
  await page.locator("#cancel").click();
  check("waiting: it can be cancelled, and that is said", /Cancelled/.test(await page.locator("#status").textContent()) && (await page.locator("#result").getAttribute("aria-busy")) === "false" && (await page.evaluate(() => document.activeElement.id)) === "text");
  check("a cancelled request is no error, and the last result stays", (await page.locator("#problem").textContent()) === "" && (await page.locator("#read").textContent()) === "quick");
  failed.pop();
  release.forEach((done) => done());
  check("a newer request ends the older one", same(failed, ["net::ERR_ABORTED"]) && (await page.locator("#read").textContent()) === "quick" && (await page.locator("#result").getAttribute("aria-busy")) === "false", failed);
  await page.context().close();
}

async function modelView() {
  const page = await open({ hash: "#model" });
  const words = await page.locator("#about").textContent();
  check("model: reached by its address", await page.getByRole("tab", { name: "Model", selected: true }).isVisible());
  check("model: tasks, labels and version", info.tasks.every((task) => words.includes(task.name) && (task.labels ?? []).every((label) => words.includes(label))) && words.includes(info.version));
  check("model: opens with its name and its scores", words.startsWith(info.model.name) && Object.values(info.model.scores ?? {}).every(({ headline, values }) => words.includes(`${values[headline].toFixed(2)} %`)), words.slice(0, 200));
  check("model: the limits come last, closed", !(await page.locator("#limits").evaluate((one) => one.open)) && words.indexOf("Limits") > words.indexOf("Tasks"));
  check("no folder of the server's machine is named", !/(^|[\s"'])(\/[\w.-]+){2,}/.test(words + (await page.locator("#served").textContent())), words.match(/\S*\/\S*/g));
  check("model: limits in words", words.includes("Length of a text") && !words.includes("body_bytes"));
  for (const name of ["docs", "openapi.json", "metrics"]) check(`model: the link to /${name} leads somewhere`, (await page.locator(`.links a[href="${name}"]`).count()) === 1 && (await page.request.get(new URL(name, base).href)).ok());
  const there = (await page.request.get(new URL("report", base).href)).status();
  if (there === 200) {
    const frame = page.frameLocator("#report iframe");
    check("model: the report is in its frame", (await frame.locator("h1").textContent()).length > 0);
    check("model: and can be opened alone", (await page.getByRole("link", { name: "Open the report alone" }).getAttribute("href")) === "report");
  } else check("model: says that there is no report", /none/.test(await page.locator("#report").textContent()), there);
  await picture(page, "15-model");
  await page.context().close();
}

/** Every view in every look: width, contrast, pictures. */
async function looks() {
  for (const [name, settings] of Object.entries({
    light: {}, dark: { scheme: "dark" }, phone: { width: 375, height: 740, touch: true }, "phone-dark": { width: 375, height: 740, touch: true, scheme: "dark" }, "phone-small": { width: 320, height: 568, touch: true }, tablet: { width: 820, height: 1100 },
  })) {
    const page = await open(settings);
    await fitsWindow(page, `${name}, first`);
    for (const [number, id] of [[1, "history"], [3, "arabic"], [4, "long"]]) {
      await asked(page, () => page.locator("#examples button").nth(number).click());
      await page.waitForTimeout(settings.touch ? 700 : 50);
      await fitsWindow(page, `${name}, ${id}`);
      if (settings.touch && id === "history") {
        check(`${name}: the result is brought into the window`, await page.evaluate(() => document.querySelector("#result").getBoundingClientRect().top < innerHeight / 2));
        await picture(page, `20-${name}-window`, false);
      }
      if (id === "history") for (const details of await page.locator("#found summary").all()) await details.click();
      const low = await page.evaluate(CONTRAST);
      check(`${name}, ${id}: every text stands out at least 4.5 to 1 (lowest ${low[0]?.[0]})`, low[0]?.[0] >= 4.5, low);
      await fitsWindow(page, `${name}, ${id} with all open`);
      await picture(page, `20-${name}-${id}`);
    }
    await fill(page, `${"Donaudampfschifffahrt".repeat(12)} https://example.org/${"a/".repeat(80)} ${"👩🏽‍🚀".repeat(60)}`, question("W".repeat(120)));
    await asked(page, go(page));
    await fitsWindow(page, `${name}, words without end`);
    await page.locator("#tab-model").click();
    await modelShown(page);
    await fitsWindow(page, `${name}, model`);
    const low = await page.evaluate(CONTRAST);
    check(`${name}, model: every text stands out (lowest ${low[0]?.[0]})`, low[0]?.[0] >= 4.5, low);
    await picture(page, `21-${name}-model`);
    await page.context().close();
  }
}

/** A dependency tree is a picture: each word once with its tag, each relation on its arc and over no other, each arrow at its word. */
async function trees() {
  // A tree, one whose arcs cross, and one from right to left.
  const samples = {
    plain: ["The old trains that we saw yesterday were late again .", [3, 3, 9, 6, 6, 3, 6, 9, 0, 9, 9], "det amod nsubj obj nsubj acl:relcl obl:tmod cop root advmod punct", "DET ADJ NOUN PRON PRON VERB NOUN AUX ADJ ADV PUNCT"],
    crossing: ["A hearing is scheduled on the issue today .", [2, 3, 0, 3, 7, 7, 2, 4, 3], "det nsubj root ccomp case det nmod obl punct", "DET NOUN AUX VERB ADP DET NOUN NOUN PUNCT"],
    arabic: ["كتب الولد رسالة طويلة .", [0, 1, 1, 3, 1], "root nsubj obj amod punct", null],
    one: ["Yes", [0], "root", null],
  };
  for (const [look, settings] of Object.entries({ light: {}, dark: { scheme: "dark" }, phone: { width: 375, height: 740, touch: true } })) {
    for (const [name, [text, heads, relations, tags]] of Object.entries(samples)) {
      const forms = text.split(" ");
      const starts = forms.map((_, at) => forms.slice(0, at).join(" ").length + (at ? 1 : 0));
      const placed = (at) => ({ text: forms[at], start: starts[at], end: starts[at] + forms[at].length });
      const words = forms.map((_, at) => ({ ...placed(at), head: heads[at], label: relations.split(" ")[at], score: at % 4 ? 0.97 : 0.4 }));
      const tagged = { entities: forms.map((_, at) => ({ ...placed(at), type: tags?.split(" ")[at], score: 0.99 })) };
      const tasks = [{ name: "tree", kind: "x", shape: "tree", fields: ["text"], labels: [] }, ...(tags ? [{ name: "pos", kind: "y", shape: "spans", fields: ["text"], labels: ["NOUN"] }] : [])];
      const results = { tree: { words }, ...(tags && { pos: tagged }) };
      const page = await open({ ...settings, before: async (page) => (await page.route("**/info", (route) => route.fulfill(json(200, { ...info, tasks }))), await answerWith(page, (route) => route.fulfill(json(200, { results, tokens: 5, seconds: 0.002 })))) });
      await fill(page, text);
      await asked(page, go(page));
      const seen = await page.evaluate(() => {
        const box = (one) => { const { x, y, width, height } = one.getBBox(); return { x, y, width, height, middle: x + width / 2 }; };
        const all = (selector) => [...document.querySelectorAll(`svg.tree ${selector}`)];
        const frame = document.querySelector(".tree-frame");
        return {
          words: all(".word").map((one) => [one.textContent, box(one)]), tags: all(".under").map((one) => one.textContent),
          relations: all(".over").map((one) => [one.querySelector("text").textContent, box(one.querySelector("rect"))]),
          arrows: all(".head").map((one) => box(one).middle), unsure: all(".unsure").length, size: box(document.querySelector("svg.tree")), scrolls: frame.scrollWidth > frame.clientWidth,
          rows: [...document.querySelectorAll(".tree-part tbody tr")].length,
        };
      });
      const of = `tree ${name}, ${look}`;
      const apart = (boxes, room) => boxes.every((a, i) => boxes.slice(i + 1).every((b) => a.x + a.width + room <= b.x || b.x + b.width + room <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y));
      check(`${of}: every word once, in its order`, same(seen.words.map(([word]) => word), forms), seen.words);
      check(`${of}: tags below`, same(seen.tags, tags ? tags.split(" ") : []), seen.tags);
      check(`${of}: every relation once`, same(seen.relations.map(([label]) => label).sort(), relations.split(" ").sort()), seen.relations);
      check(`${of}: words and relations lie over no other`, apart(seen.words.map(([, at]) => at), 4) && apart(seen.relations.map(([, at]) => at), 0), seen.relations);
      check(`${of}: an arrow at the middle of each word`, seen.words.every(([, at]) => seen.arrows.filter((arrow) => Math.abs(arrow - at.middle) < 1.5).length === 1), [seen.words, seen.arrows]);
      check(`${of}: dashed where the score is low`, seen.unsure === words.filter((word) => word.score < 0.5).length, seen.unsure);
      check(`${of}: the table has a row for each word`, seen.rows === forms.length, seen.rows);
      const ordered = seen.words.map(([, at]) => at.middle);
      check(`${of}: from ${name === "arabic" ? "right to left" : "left to right"}`, ordered.every((at, i) => i === 0 || (name === "arabic" ? at < ordered[i - 1] : at > ordered[i - 1])), ordered);
      if (look === "phone" && name === "plain") check(`${of}: it scrolls in its frame`, seen.scrolls);
      await fitsWindow(page, of);
      await picture(page, `14-tree-${name}-${look}`);
      await page.context().close();
    }
  }
}

for (const part of [firstLook, typing, scrolling, scripts, keyboardOnly, curlCommands, racing, modelView, looks, shapes, otherModels, trees, errors, keyed]) {
  try {
    await part();
  } catch (error) {
    check(`${part.name} ran to its end`, false, String(error.stack ?? error).slice(0, 600));
  }
}
check("the console was silent, and no other host was asked for anything", noise.length === 0, noise.slice(0, 8));
await browser.close();
console.log(failures ? `${failures} failed` : "all good");
process.exit(failures ? 1 : 0);
