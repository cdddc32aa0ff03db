#!/usr/bin/env node
// A folder of `polyhead export --web` under Node, with the real onnxruntime-web, beside `polyhead serve` on the same model.
//
//     polyhead export MODEL --web /tmp/web --weights f32 && (cd /tmp/web && npm install)
//     node checks/web_check.mjs POLYHEAD MODEL /tmp/web [--texts 200]
//
// Texts of samples/ and of this file, each with a question: short, long (many windows), emoji, CJK, combining characters, right to left,
// nearly empty and empty. The server computes in f32. Both get the same requests to /analyze and must give the same answers: texts, labels, offsets
// and errors to the letter, scores within 1e-4. With --int8 the folder has int8 weights, and the script says how close its
// answers come. Prints a line for each check; the exit code is 1 if one failed.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({ allowPositionals: true, options: { texts: { type: "string", default: "200" }, int8: { type: "boolean", default: false } } });
if (positionals.length !== 3) {
  console.error("usage: node web_check.mjs POLYHEAD MODEL FOLDER [--texts NUMBER] [--int8]");
  process.exit(2);
}
const [program, folder, web] = positionals;
const samples = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "samples");
const TOLERANCE = 1e-4;

let failures = 0;
function check(name, good, seen) {
  if (!good) failures += 1;
  console.log(`${good ? "ok  " : "FAIL"}  ${name}${good || seen === undefined ? "" : `: ${JSON.stringify(seen).slice(0, 1500)}`}`);
}

// --------------------------------------------------------------------------------------------------------------- the texts

const read = (...names) => readFileSync(path.join(samples, ...names), "utf8");
const sentences = read("ner", "validation.conll").split(/\n\s*\n/).map((block) => block.split("\n").map((line) => line.split(/\s/)[0]).filter((word) => word && word !== "-DOCSTART-").join(" ")).filter(Boolean);
const passages = JSON.parse(read("qa", "validation.json")).data.flatMap((article) => article.paragraphs.flatMap(({ context, qas }) => qas.map(({ question }) => ({ text: context, question }))));
const reviews = read("sentiment", "validation.tsv").split("\n").slice(1).map((line) => line.split("\t")[0]).filter(Boolean);

const UNUSUAL = [
  "", " ", "\n\n", "\u200b", "\ufeff", "a", ".", "…", "é", "\u0301", "\u0000", "🗼", "👩🏽‍🚀", "🇯🇵🇮🇸", "�",
  "Landed in Tokyo 🗼✨ Maria 👩🏽‍🚀 flew in from Houston, Kenji 🇯🇵 came up from Osaka by train 🚄 — tomorrow the JAXA museum in Tsukuba 🚀🛰️!",
  "東京タワーは1958年に建てられた。山田太郎は大阪から来ました。", "玛丽·居里出生于华沙，在巴黎工作。", "서울에서 온 김민준은 부산 국제영화제에 갔다.", "แมรีเกิดที่วอร์ซอและทำงานในปารีส",
  "Zu\u0308rich, A\u030angstro\u0308m, Cafe\u0301 de\u0301ja\u0300 vu, Z\u0351\u036b\u0343a\u0307l\u0334g\u0321o\u0328 in Kra\u0301kow", "Zürich, Ångström, Café déjà vu in Kraków",
  "وُلدت زها حديد في بغداد عام 1950، ثم أسست شركة Zaha Hadid Architects في London.", "הוא נולד בתל אביב ועבד ב־IBM",
  "naïve ﬁnance in ﬀ Oﬃce ½ ① ㎏ Ⅷ", "ＦＵＬＬ　ＷＩＤＴＨ　Ｌｏｎｄｏｎ", "Ada\u00a0Lovelace\u2009lived\u3000in\tLondon\r\nand\u2028Paris\u0085there",
  "[CLS] Ada [SEP] London [PAD] [UNK] [MASK]", "<s>Ada</s> <b>London</b> &amp; \"Paris\" \\n {}", "x".repeat(300), "Donaudampfschifffahrtsgesellschaft ".repeat(8), "👨‍👩‍👧‍👦".repeat(40), " ".repeat(2000) + "Ada", "𝕬𝖉𝖆 𝖎𝖓 𝕷𝖔𝖓𝖉𝖔𝖓 𐍈 𠜎",
  "U.N. official Ekeus heads for Baghdad.\tDr. J. O'Neill-Smith's e-mail: a.b@c.de, $1,234.56 (50%)!?",
];

/** `count` requests, of all kinds, in an order that does not depend on chance. */
function requests(count) {
  const all = UNUSUAL.map((text, at) => ({ text, question: ["Who?", "Where is 東京 🗼?", "What happened\tthere", "W".repeat(20)][at % 4] }));
  const long = (at, size) => [...Array(size).keys()].map((part) => passages[(at * 7 + part) % passages.length].text).join(at % 2 ? "\n\n" : " 🛰️ ");
  for (let at = 0; all.length < count; at += 1) {
    const { text, question } = passages[(at * 3) % passages.length];
    all.push([
      { text: sentences[at % sentences.length] }, { text: reviews[at % reviews.length], question: "What is it about?" }, { text, question },
      { text: `${sentences[(at * 5) % sentences.length]} ${UNUSUAL[15 + (at % 12)]}`, question }, { text: long(at, 2 + (at % 3)), question }, at % 30 === 5 ? { text: long(at, 9), question } : { text: reviews.slice(at % 40, (at % 40) + 3).join(" "), question },
    ][at % 6]);
  }
  return all.slice(0, count).map((request, at) => ({ ...request, offset_unit: ["char", "utf16", "byte"][at % 3] }));
}

// --------------------------------------------------------------------------------------------------------------- the two

async function serve() {
  const environment = { ...process.env };
  delete environment.POLYHEAD_API_KEY;
  const child = spawn(program, ["serve", folder, "--port", "0", "--quiet", "--precision", "f32"], { env: environment, stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = line.match(/^listening on (http:.*)$/)?.[1];
    if (url) return { url, stop: () => child.kill("SIGTERM") };
  }
  throw new Error("the server ended before it listened");
}

/** Asks the server, on a connection of its own: it closes those that are idle while this process computes. */
const call = (url, body) => new Promise((resolve, reject) => {
  const sent = request(url, { method: body === undefined ? "GET" : "POST", agent: false, headers: { "content-type": "application/json" } }, async (answer) => {
    let text = "";
    for await (const part of answer.setEncoding("utf8")) text += part;
    resolve(JSON.parse(text));
  });
  sent.on("error", reject).end(body === undefined ? undefined : JSON.stringify(body));
});
const post = (url, body) => call(new URL("analyze", url), body);

/** What the folder answers, in the server's form. */
async function ask(model, body) {
  try {
    return await model.analyze(body);
  } catch (problem) {
    if (problem.name !== "Problem") throw problem;
    return { error: problem.message, code: problem.code, ...(problem.hint && { hint: problem.hint }) };
  }
}

let largest = 0;

/** Where two answers differ: paths, with both values. Scores may differ by the tolerance. */
function differences(a, b, at = "") {
  if (typeof a === "number" && typeof b === "number" && /\.(score|value)$/.test(at)) {
    largest = Math.max(largest, Math.abs(a - b));
    return Math.abs(a - b) <= TOLERANCE ? [] : [[at, a, b]];
  }
  if (a === null || b === null || typeof a !== "object" || typeof b !== "object") return a === b ? [] : [[at, a, b]];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((key) => differences(a[key], b[key], `${at}.${key}`));
}

const withoutTime = ({ seconds, ...answer }) => answer;

// What people read off an answer: entities with places, the best answer, the label, words with tags and heads. For int8.
function gist(result) {
  if (result.entities) return result.entities.map(({ type, start, end }) => [type, start, end]);
  if (result.edges) return result.edges.map(({ type, from, to }) => [type, from.start, to.start]);
  if (result.words) return result.words.map(({ head, label }) => [head, label]);
  return result.answer ?? result.label ?? result.labels ?? null;
}

const { Polyhead } = await import(pathToFileURL(path.resolve(web, "polyhead.mjs")));
const opened = performance.now();
const model = await Polyhead.open(pathToFileURL(path.resolve(web)));
console.log(`opened in ${((performance.now() - opened) / 1000).toFixed(2)} s: ${model.tasks.map(({ name, kind }) => `${name} (${kind})`).join(", ")}`);
const server = await serve();
try {
  const info = await call(new URL("info", server.url));
  check("the tasks are those that the server tells of", differences(model.tasks, info.tasks).length === 0, differences(model.tasks, info.tasks));
  const { precision, ...about } = info.model;
  const { precision: _, ...own } = model.info.model;
  check("and so is the model", differences(own, about).length === 0, differences(own, about));

  const all = requests(Number(options.texts));
  const kinds = { answered: 0, refused: 0, windows: 0 };
  const agreed = new Map();
  let [wrong, tokens, processor] = [0, 0, 0];
  for (const asked of all) {
    const expected = await post(server.url, asked);
    const before = process.cpuUsage();
    const found = await ask(model, asked);
    const { user, system } = process.cpuUsage(before);
    if (expected.error) {
      kinds.refused += 1;
      // A question too long for this model, say: the text alone may be answered.
      if (asked.question) all.push({ text: asked.text, offset_unit: asked.offset_unit });
    }
    else {
      kinds.answered += 1;
      [tokens, processor] = [tokens + expected.tokens, processor + (user + system) / 1e6];
      if (expected.tokens > 3 * 512) kinds.windows += 1;
    }
    const different = differences(withoutTime(found), withoutTime(expected));
    if (options.int8 && !expected.error && !found.error) {
      for (const [task, result] of Object.entries(expected.results)) {
        const one = agreed.get(task) ?? { same: 0, of: 0 };
        agreed.set(task, { same: one.same + (JSON.stringify(gist(result)) === JSON.stringify(gist(found.results[task]))), of: one.of + 1 });
      }
    } else if (different.length) {
      wrong += 1;
      if (wrong <= 5) console.log(`      ${JSON.stringify(asked).slice(0, 200)}: ${JSON.stringify(different).slice(0, 600)}`);
    }
  }
  const of = `${options.texts} texts, ${all.length} requests (${kinds.answered} answered, ${kinds.refused} refused, ${kinds.windows} of more than 1,536 tokens)`;
  if (options.int8) {
    check(`${of}: the same ones are answered`, wrong === 0, wrong);
    for (const [task, { same, of }] of agreed) console.log(`      ${task}: the same answer in ${same} of ${of} texts (${((100 * same) / of).toFixed(1)} %)`);
  } else check(`${of}: the same answers, scores within ${TOLERANCE} (largest difference ${largest.toExponential(1)})`, wrong === 0 && kinds.answered > 0.8 * Number(options.texts), wrong);
  console.log(`      ${tokens} tokens, ${(tokens / processor).toFixed(0)} a second of processor time (one thread)`);

  // One task alone, requests side by side, and what no task can make anything of.
  const [first] = model.tasks;
  const body = Object.fromEntries(first.fields.map((field) => [field, first.examples[field]]));
  const alone = await model.predict(first.name, body);
  const expected = (await post(server.url, { ...body, tasks: [first.name] })).results[first.name];
  if (!options.int8) check(`predict("${first.name}") gives what the server gives`, differences(alone, expected).length === 0, differences(alone, expected));
  const beside = await Promise.all([1, 2, 3].map(() => model.predict(first.name, body)));
  check("requests side by side are answered each", beside.every((one) => differences(one, alone).length === 0));
  for (const bad of [{}, [], { text: 1 }, { txet: "a" }, { text: "a", tasks: ["none"] }, { text: "a", tasks: "none" }, { text: "a", offset_unit: "x" }, { text: "a", tasks: [first.name, first.name] }, { question: "Who?" }, null]) {
    const [found, expected] = [await ask(model, bad), await post(server.url, bad)];
    check(`${JSON.stringify(bad)} is refused as the server refuses it`, expected.error && differences(found, expected).length === 0, [found, expected]);
  }
  const lone = await ask(model, { text: "half \ud83d" });
  check("half a surrogate pair is refused", lone.code === "invalid", lone);
  check("and the next request is answered", differences(await model.predict(first.name, body), alone).length === 0);
  await model.close();
  check("a closed model says so", (await ask(model, body)).error === "the model is closed");
} finally {
  server.stop();
}
console.log(failures ? `${failures} failed` : "all good");
process.exit(failures ? 1 : 0);
