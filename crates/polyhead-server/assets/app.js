// The page of `polyhead serve`, and of `polyhead export --web`: asks POST /analyze (api.js) and draws what comes back.
//
//   {"text", "question", "tasks", "offset_unit": "utf16"} -> {"results": {TASK: answer}, tokens, seconds}
//
// An answer has one of the shapes that /info names for each task (SHAPES below): spans and candidates are marked in the text,
// edges are arcs over the text (arcs.js), trees are drawn (tree.js), labels and numbers are tables. No kind of task is known here.
//
// Offsets are asked for in UTF-16 units: those are what JavaScript's strings count. What a server or a user wrote goes into
// the page as text nodes and attributes only, never as HTML. The parts: the model, the request, the result, the text with its
// marks, the tip, curl, the model's view, the tabs.

import { HTTP, Problem, WAITING, authorization, call, hasKey, useKey } from "./api.js";
import { withArcs } from "./arcs.js";
import { treePicture } from "./tree.js";

const EXAMPLES = [
  ["News", "A new night train will link Copenhagen and Milan from April, the Danish operator DSB said on Tuesday. It is to stop in Hamburg, Munich and Verona. Greenpeace welcomed the plan; Lufthansa did not wish to comment.",
    "Who welcomed the plan?"],
  ["History", "Ada Lovelace was born in London in 1815, the daughter of the poet Lord Byron. In 1843 she translated an article by Luigi Menabrea on the Analytical Engine, a machine that Charles Babbage had designed, and added notes that were three times as long as the article. The machine was never built in her lifetime.",
    "Who designed the Analytical Engine?"],
  ["Emoji 🗼", "Landed in Tokyo 🗼✨ Maria 👩🏽‍🚀 flew in from Houston, Kenji 🇯🇵 came up from Osaka by train 🚄 — tomorrow we all visit the JAXA museum in Tsukuba 🚀🛰️!",
    "Where did Maria come from?"],
  ["عربي + English", "وُلدت زها حديد في بغداد عام 1950، ثم أسست شركة Zaha Hadid Architects في London.\nShe was born in Baghdad (بغداد) and studied in بيروت before she moved to London.",
    "Where was she born?"],
  ["Long", "In June 1910 the Fram left Norway, and nobody on board but Roald Amundsen and a few others knew where she was bound. The world believed that she would sail round Cape Horn to the Arctic. In September, at anchor off Funchal, Amundsen called the crew on deck and told them the truth: they were going south. His brother Leon went ashore with the letters, and a telegram was sent to Robert Falcon Scott, whom it reached in Melbourne.\n\nThe Terra Nova had left Cardiff with Scott's expedition that June. It had motor sledges, ponies, dogs, and men of the Royal Navy and of the British Museum. Fridtjof Nansen, who had lent Amundsen the Fram, learned of the new plan from the newspapers like everyone else.\n\nThe Norwegians landed in the Bay of Whales in January 1911 and built a hut that they called Framheim. Through the winter Olav Bjaaland planed the sledges to a third of their weight, and Oscar Wisting sewed tents on a machine. A first start in September failed in the cold, and Hjalmar Johansen quarrelled with Amundsen over it. On 19 October five men set out: Amundsen, Bjaaland, Wisting, Helmer Hanssen and Sverre Hassel. They climbed from the Ross Ice Shelf to the plateau by a glacier that they named after Axel Heiberg, and on 14 December 1911 they stood at the South Pole.\n\nScott, Edward Wilson, Henry Bowers, Lawrence Oates and Edgar Evans came to the same place on 17 January 1912 and found a tent with a letter to King Haakon. None of the five came home. Amundsen reached Hobart in March and sent the news to Christiania in cipher.",
    "Where did Amundsen tell the crew about the new plan?"],
  ["Nothing to find", "It rained all morning, and nobody minded. The bread was warm, the kettle sang, and the afternoon took its time.",
    "Which company won the contract?"],
];

// The types that the well-known corpora use, in words, and the colour that each keeps from model to model. No prototype: a
// model may call a type `constructor`.
const WORDS = {
  __proto__: null,
  PER: ["person", 0], PERSON: ["person", 0], ORG: ["organization", 1], ORGANIZATION: ["organization", 1],
  LOC: ["place", 2], LOCATION: ["place", 2], GPE: ["country or town", 2], MISC: ["other name", 3],
};
const COLOURS = 5;

const $ = (id) => document.getElementById(id);

/** An element with attributes (`on...` are listeners; false and null are left out) and children (strings become text). */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

const number = (value) => new Intl.NumberFormat("en").format(value);
const counted = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

/** A score in words that claim no more than it does: 0.99996 is not 100%. */
function percent(score) {
  if (!Number.isFinite(score)) return "–";
  if (score > 0.9995 && score < 1) return ">99.9%";
  if (score < 0.0005 && score > 0) return "<0.1%";
  return `${(score * 100).toFixed(1)}%`;
}

function duration(seconds) {
  return seconds < 1 ? `${number(+(seconds * 1000).toPrecision(2))} ms` : `${seconds.toFixed(1)} s`;
}

// -------------------------------------------------------------------------------------------------------------- the model

let info = null; // what /info said, once it did

/** The tasks of /info; null where the server has not told them yet. */
const tasks = () => (Array.isArray(info?.tasks) ? info.tasks : null);
/** Whether a task asks for a field, and whether one answers in a shape; before /info is there, any may. */
const hasField = (name) => !tasks() || tasks().some((task) => task.fields?.includes(name));
const hasShape = (shape) => !tasks() || tasks().some((task) => task.shape === shape);
/** Whether a task can be asked with these fields: each is there, or the one that stands in for it; or another task finds in the text what it relates. */
const canAnswer = (task, given) => (task.fields ?? []).every((field) => field in given || String(task.defaults?.[field]) in given) || ("text" in given && Boolean(task.parts_from));
/** The value of a task's field in a request. */
const valueOf = (task, field, given) => given[field] ?? given[task.defaults?.[field]];

// What the page says of each shape before anything was asked, and how it tells the shape of a result where /info does not.
const SHAPES = {
  __proto__: null,
  spans: ["the names in the text are highlighted", (result) => Array.isArray(result?.entities)],
  candidates: ["the answer to your question is highlighted, with its runners-up", (result) => typeof result?.answer === "string"],
  labels: ["the labels of the text are listed", (result) => typeof result?.label === "string" && Array.isArray(result.labels)],
  number: ["the number of the text is shown", (result) => typeof result?.value === "number"],
  edges: ["the relations in the text are drawn", (result) => Array.isArray(result?.edges)],
  tree: ["the heads of the words are drawn as a tree", (result) => Array.isArray(result?.words)],
};

/** The shape of a task's result; null where it is none that can be drawn. */
function shapeOf(task, result) {
  const said = tasks()?.find((one) => one.name === task)?.shape;
  const known = said in SHAPES ? [said] : Object.keys(SHAPES);
  return known.find((shape) => SHAPES[shape][1](result)) ?? null;
}

async function loadInfo() {
  try {
    info = await call("info");
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showProblem(problem, loadInfo);
    $("about").replaceChildren(el("p", { class: "notice" }, [problem.message, problem.hint].filter(Boolean).join(" ")),
      el("button", { type: "button", onclick: showModel }, "Try again"));
    return false;
  }
  const model = info.model ?? {};
  $("served").textContent = [model.name, model.encoder !== model.name && model.encoder, (tasks() ?? []).map((task) => task.name).join(" + ")]
    .filter(Boolean).join(" · ") || "One encoder, many heads.";
  const textIsEnough = tasks()?.some((task) => canAnswer(task, { [mainField()]: "" }));
  $("question-part").hidden = !hasField("question");
  $("question-part").querySelector("label .note").hidden = !textIsEnough;
  moreFields();
  mainText();
  const invites = Object.keys(SHAPES).filter(hasShape).map((shape) => SHAPES[shape][0]);
  $("invite").textContent = `${hasField("question") && !textIsEnough ? "Type a question about the text. " : ""}Here ${invites.join(", and ")}.`;
  measure();
  return true;
}

/** The field that the large input is for: the text, or where no task reads one of that name the first field of the first. */
const mainField = () => (!tasks()?.length || tasks().some((task) => [...(task.fields ?? []), ...Object.values(task.defaults ?? {})].includes("text")) ? "text" : tasks()[0].fields[0]);
/** A text that shows what a field is for. */
const exampleOf = (field) => (tasks() ?? []).map((task) => task.examples?.[field]).find(Boolean);

/** Where the large input is not for a text of any kind, its name and an example say what it is for. */
function mainText() {
  const field = mainField();
  if (field === "text") return;
  document.querySelector("label[for=text]").textContent = field[0].toUpperCase() + field.slice(1).replaceAll("_", " ");
  const example = exampleOf(field);
  $("text").placeholder = example ?? "";
  const fill = () => {
    $("text").value = example;
    measure();
    analyze();
  };
  $("examples").replaceChildren(...(example ? [el("button", { type: "button", onclick: fill }, "Example")] : []));
}

/** An input for each field that tasks ask for besides the text, the question and what the text stands in for. */
function moreFields() {
  const fields = (tasks() ?? []).flatMap((task) => (task.fields ?? []).filter((field) => ![mainField(), "question"].includes(field) && task.defaults?.[field] !== "text"));
  $("more-fields").replaceChildren(...[...new Set(fields)].map((field) => el("div", {},
    el("label", { for: `field-${field}` }, field.replaceAll("_", " "), (tasks() ?? []).every((task) => !task.fields?.includes(field) || task.parts_from) ? el("span", { class: "note" }, " (optional)") : null),
    el("input", { id: `field-${field}`, "data-field": field, placeholder: exampleOf(field), dir: "auto", type: "text", autocomplete: "off" }))));
}

// ------------------------------------------------------------------------------------------------------------ the request

let waiting = null; // the AbortController of the request that is under way
let ticking = 0; // the timer that counts its seconds
let shown = null; // {request, edited}: what the result on the page is the answer to

/** A string that JSON can carry to any reader: half a surrogate pair becomes U+FFFD, of the same length. */
const wellFormed = (text) => text.toWellFormed?.() ?? text;

/** The body for /analyze, or the words and the field that say what is missing. */
function request() {
  const text = wellFormed($("text").value);
  const question = hasField("question") ? wellFormed($("question").value.trim()) : "";
  if (!text.trim()) return { missing: "Type or paste a text first.", field: "text" };
  const given = { [mainField()]: text, ...(question && { question }) };
  for (const input of $("more-fields").querySelectorAll("input")) if (input.value.trim()) given[input.dataset.field] = wellFormed(input.value);
  const names = tasks()?.filter((task) => canAnswer(task, given)).map((task) => task.name);
  if (names?.length === 0) {
    const [task] = tasks();
    const lacks = task.fields.find((field) => valueOf(task, field, given) === undefined);
    return lacks === "question" ? { missing: "This model answers questions: type one about the text.", field: "question" }
      : { missing: `Fill in the field ${lacks.replaceAll("_", " ")} first.`, field: $(`field-${lacks}`) ? `field-${lacks}` : "text" };
  }
  return { body: { ...given, ...(names && { tasks: names }), offset_unit: "utf16" } };
}

async function analyze() {
  const { body, missing, field } = request();
  waiting?.abort();
  if (missing) {
    waiting = null;
    busy(false);
    $("status").textContent = missing;
    $(field).focus();
    return;
  }
  const mine = (waiting = new AbortController());
  // Most answers are there before anyone could read a word of waiting.
  const slow = setTimeout(() => busy(true), 150);
  try {
    const response = await call("analyze", body, mine.signal);
    if (waiting === mine) showResult(body, response);
    bringUp();
  } catch (problem) {
    if (mine.signal.aborted) {
      // Either a newer request took its place, which tells of itself, or the person who asked has enough.
      if (waiting === mine) $("status").textContent = "Cancelled.";
      return;
    }
    if (!(problem instanceof Problem)) throw problem;
    showProblem(problem, analyze);
    clearFound();
    $("found").append(...[curlPart(body)].filter(Boolean).map((part) => el("div", {}, part)));
    bringUp();
  } finally {
    clearTimeout(slow);
    if (waiting === mine) {
      waiting = null;
      busy(false);
    }
  }
  if (!info) loadInfo();
}

const motion = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");

/** Where the page is one column the result may lie below the window: brings it up. */
function bringUp() {
  if ($("result").getBoundingClientRect().top < innerHeight * 0.6) return;
  $("result").scrollIntoView({ block: "start", behavior: motion() });
}

/** Scrolls to an element with some of what stands around it, and not at all where that can be seen already. */
function bringIntoView(element) {
  const lines = 60; // pixels: two lines of the text
  const box = element?.getBoundingClientRect();
  if (!box || (box.top >= lines && box.bottom <= innerHeight - lines)) return;
  // What is higher than the window begins at its top.
  element.scrollIntoView({ block: box.height > innerHeight - 2 * lines ? "start" : "center", behavior: motion() });
}

/** Waiting: said once to those who hear the page, its seconds counted for those who see it, and a way to stop it. */
function busy(on) {
  $("result").setAttribute("aria-busy", on);
  clearInterval(ticking);
  if (!on) return;
  const seconds = el("span", { "aria-hidden": "true" });
  const began = performance.now();
  const tick = () => (seconds.textContent = ` ${Math.floor((performance.now() - began) / 1000)} s `);
  ticking = setInterval(tick, 1000);
  tick();
  $("status").replaceChildren(WAITING, seconds, el("button", { type: "button", id: "cancel", onclick: cancel }, "Cancel"));
}

function cancel() {
  waiting?.abort();
  $("text").focus();
}

/** An error in words: what was wrong, the way out, and a button that tries again where that can help. */
function showProblem(problem, again) {
  const { message, code, status, retry } = problem;
  const hint = explained(problem);
  const box = $("problem");
  $("status").textContent = "";
  $("invite").hidden = true;
  if (status === 401) {
    $("key-form").hidden = false;
    $("key").focus();
  }
  const may = again && (!status || [408, 429, 500, 502, 503, 504].includes(status));
  box.replaceChildren(...[
    el("p", { class: "what" }, message),
    // The server's hint on a missing key is for programs.
    status === 401 ? el("p", {}, "Type the key into the field above.") : hint && el("p", {}, hint),
    retry && el("p", {}, `The server asks to wait ${counted(retry, "second", "seconds")} before the next try.`),
    (code || status) && el("p", { class: "note" }, el("code", {}, [code, status && `HTTP ${status}`].filter(Boolean).join(" · "))),
    may && el("button", { type: "button", onclick: () => (box.replaceChildren(), again()) }, "Try again"),
  ].filter(Boolean));
}

/** What a refusal for too many tokens means here: the page asks several tasks at once, and windows overlap. */
function explained({ code, message, hint }) {
  const several = tasks()?.length > 1 && $("question").value.trim();
  if (code !== "invalid" || !/tokens/.test(message)) return hint;
  const words = "A long text is read in overlapping windows, and every task reads it: the tokens of all of them count.";
  return [words, several ? "Without a question the text may be about twice as long." : "Send the text in parts."].join(" ");
}

/** The length of the text in characters, and the limit where it is near. */
function measure() {
  const length = [...$("text").value].length;
  const most = info?.limits?.characters;
  const over = Number.isFinite(most) && length > most;
  $("length").classList.toggle("over", over);
  $("length").textContent = length ? counted(length, "character", "characters") + (over ? `, more than the ${number(most)} that the server takes` : "") : "";
  if (shown && !shown.edited && ($("text").value !== shown.text || $("question").value !== shown.question)) {
    shown.edited = true;
    $("status").append(" · the fields were edited since");
  }
}

// ------------------------------------------------------------------------------------------------------------- the result

function clearFound() {
  shown = null;
  hideTip();
  $("invite").hidden = true;
  $("found").replaceChildren();
}

const fits = (text, span) => Number.isInteger(span?.start) && Number.isInteger(span?.end) && 0 <= span.start && span.start <= span.end && span.end <= text.length;

/** Whether spans label the whole text, word for word, as parts of speech do: nothing but white space is left. */
function labelsEachWord(text, spans) {
  let end = 0;
  const gaps = [...spans].sort((a, b) => a.start - b.start).map((span) => [end, span.start, (end = Math.max(end, span.end))]);
  return spans.length > 1 && [...gaps, [end, text.length]].every(([from, to]) => !text.slice(from, to).trim());
}

/** /analyze's results, sorted by their shapes: spans and candidates for the text, labels of each word, the rest as tables or JSON. */
function sorted(text, results) {
  const entities = [], wordLabels = [], answers = [], tables = [], others = [];
  let misplaced = 0, readers = 0;
  const shaped = Object.entries(results).map(([task, result]) => [task, result, shapeOf(task, result)]);
  const spanTasks = shaped.filter(([, , shape]) => shape === "spans");
  // Beside mentions, labels of each word would lie on top of all of them.
  const apart = spanTasks.length > 1 ? spanTasks.filter(([, result]) => result.entities.every((one) => fits(text, one)) && labelsEachWord(text, result.entities)).map(([task]) => task) : [];
  const several = spanTasks.length - apart.length > 1;
  for (const [task, result, shape] of shaped) {
    if (apart.includes(task)) {
      wordLabels.push([task, result.entities.map((entity, index) => ({ ...entity, label: String(entity.type), index }))]);
    } else if (shape === "spans") {
      readers += 1;
      for (const entity of result.entities) {
        if (!fits(text, entity) || entity.start === entity.end) misplaced += 1;
        else entities.push({ ...entity, label: several ? `${task}: ${entity.type}` : String(entity.type), index: entities.length });
      }
    } else if (shape === "candidates") {
      const first = { answer: result.answer, start: result.start, end: result.end, score: result.score };
      const same = (one) => one.start === first.start && one.end === first.end;
      const candidates = [first, ...(result.alternatives ?? []).filter((one) => !same(one))];
      misplaced += candidates.filter((one) => !fits(text, one)).length;
      answers.push({ task, candidates: candidates.filter((one) => fits(text, one)) });
    } else if (shape) tables.push([task, result, shape]);
    else others.push([task, result]);
  }
  return { entities, wordLabels, answers, tables, others, misplaced, readers };
}

/** A score as a bar. */
function bar(score) {
  const filled = el("i");
  filled.style.setProperty("--share", `${Math.min(Math.max(score || 0, 0), 1) * 100}%`);
  return el("span", { class: "bar", "aria-hidden": "true" }, filled);
}

/** The best label with its score; where any number may hold, those that do. */
function labelsSaid(result) {
  if (!result.labels.some((one) => "chosen" in one)) return `${result.label} ${percent(result.score)}`;
  return result.labels.filter((one) => one.chosen).map((one) => `${one.label} ${percent(one.score)}`).join(", ") || "no label";
}

/** The table of a result whose shape is not marked in the text. */
function shapeTable([task, result, shape]) {
  if (shape === "labels") {
    const several = result.labels.some((one) => "chosen" in one);
    const rows = result.labels.map((one) => [String(one.label), el("span", { class: "share" }, bar(one.score), percent(one.score)), ...(several ? [one.chosen ? "yes" : "no"] : [])]);
    return table(`Labels of the text (${task})`, ["Label", "Score", ...(several ? ["Holds"] : [])], rows);
  }
  if (shape === "number") return table(`Number of the text (${task})`, ["Value"], [[result.value.toFixed(2)]]);
  if (shape === "edges") {
    return table(`Relations in the text (${task})`, ["From", "Relation", "To", "Score"],
      result.edges.map((edge) => [el("bdi", {}, String(edge.from?.text)), String(edge.type), el("bdi", {}, String(edge.to?.text)), percent(edge.score)]));
  }
  return null;
}

/** A tree: its picture, which scrolls by itself, and a table that says the same. */
function treePart([task, result], entities) {
  const head = (word) => (word.head > 0 ? `${word.head} ${result.words[word.head - 1]?.text ?? ""}` : "root");
  const rows = result.words.map((word, at) => [el("bdi", {}, `${at + 1} ${word.text}`), String(word.label), el("bdi", {}, head(word)), percent(word.score)]);
  const said = table(`Words of the text with their heads (${task})`, ["Word", "Relation", "Head", "Score"], rows);
  if (!result.words.length) return said;
  const unsure = result.words.some((word) => word.score < 0.5);
  return el("section", { class: "tree-part" }, el("h3", {}, task),
    el("div", { class: "tree-frame", tabindex: 0, role: "region", "aria-label": `Tree of ${task}; it scrolls` }, treePicture(result.words, tagsOf(result.words, entities), percent)),
    unsure ? el("p", { class: "note hint" }, "Dashed: less than 50% probable.") : null,
    el("details", {}, el("summary", {}, "The tree as a table"), said));
}

/** A tag for each word, where spans of another task stand word for word: parts of speech, say. Null where most words have none. */
function tagsOf(words, entities) {
  const tags = words.map((word) => entities.find((one) => one.start === word.start && one.end === word.end)?.type);
  return 2 * tags.filter((tag) => tag != null).length > words.length ? tags.map((tag) => (tag == null ? null : String(tag))) : null;
}

/** Labels of all words of the text, in a text of their own. */
function wordsPart([task, labels], source) {
  const view = textView(source, labels, null);
  return el("section", {}, el("h3", {}, task), typesPart(labels, view), view.node);
}

/** Relations as arcs over their text, and as a table. Their text is the one that was sent, unless the answer says another. */
function edgesPart([task, result, shape], source) {
  const text = typeof result.text === "string" ? result.text : source;
  const edges = result.edges.filter((edge) => fits(text, edge.from) && fits(text, edge.to));
  const node = el("div", { class: "read", role: "group", "aria-label": `The text with its relations (${task})` });
  const place = ({ start, end }) => `${start} ${end}`;
  const marks = new Map(edges.flatMap(({ from, to }) => [from, to]).map((end) => [place(end), { ...end, node: null }]));
  draw(node, text, [...marks.values()], (span) => {
    const mark = el("mark", { class: "end" });
    span.node ??= mark;
    return mark;
  });
  const arcs = edges.map(({ type, from, to, score }) => ({ from: marks.get(place(from)).node, to: marks.get(place(to)).node, words: `${type} ${percent(score)}` }));
  if (arcs.length) node.classList.add("arcs");
  return el("section", {}, arcs.length ? withArcs(node, arcs) : node, result.edges.length ? shapeTable([task, result, shape]) : null);
}

function showResult(body, response) {
  $("problem").replaceChildren();
  clearFound();
  shown = { text: $("text").value, question: $("question").value, edited: false };
  const source = body[mainField()];
  const found = sorted(source, response.results ?? {});
  const { entities, wordLabels, answers, tables, others, misplaced, readers } = found;
  const best = answers[0]?.candidates[0];

  const said = [];
  if (readers) said.push(entities.length ? counted(entities.length, "entity", "entities") : "no entities found");
  for (const [task, result, shape] of tables) {
    if (shape === "number") said.push(`${task}: ${result.value.toFixed(2)}`);
    if (shape === "labels") said.push(`${task}: ${labelsSaid(result)}`);
  }
  for (const [, result, shape] of tables) if (shape === "edges") said.push(result.edges.length ? counted(result.edges.length, "relation found", "relations found") : "no relation found");
  if (Number.isFinite(response.tokens)) said.push(counted(response.tokens, "token", "tokens"));
  if (Number.isFinite(response.seconds)) said.push(duration(response.seconds));
  if (misplaced) said.push(`${counted(misplaced, "place", "places")} outside the text left out`);
  // The answer is for those who hear the page: the others see it written large below.
  const heard = answers.length ? el("span", { class: "unseen" }, best?.answer ? ["Answer: ", el("bdi", {}, best.answer), `, ${percent(best.score)}. `] : "No answer in this text. ") : null;
  $("status").replaceChildren(...[heard, said.join(" · ").replace(/^n/, "N")].filter(Boolean));

  const view = textView(source, entities, best);
  const parts = [
    answers.map((answer) => answersPart(answer, answers.length > 1, view)),
    entities.length ? typesPart(entities, view) : null,
    readers || answers.length ? view.node : null,
    entities.length ? el("p", { class: "note hint" }, "Scores: point at a highlighted name, tap it, or go through them with the arrow keys.") : null,
    tables.map((one) => (one[2] === "edges" ? edgesPart(one, source) : one[2] === "tree" ? treePart(one, [...wordLabels.flatMap(([, labels]) => labels), ...entities]) : shapeTable(one))),
    wordLabels.map((one) => wordsPart(one, source)),
    others.map(([task, result]) => el("section", {}, el("h3", {}, task), el("pre", { tabindex: 0, "aria-label": `Result of ${task}` }, JSON.stringify(result, null, 2)))),
    el("div", { class: "actions" }, copyButton("Copy as JSON", () => JSON.stringify(response, null, 2))),
    el("div", {},
      entities.length ? entityTable(entities) : null,
      el("details", { id: "json" }, el("summary", {}, "The answer in JSON"), el("pre", { tabindex: 0, "aria-label": "The answer in JSON" }, JSON.stringify(response, null, 2))),
      curlPart(body)),
  ];
  $("found").append(...parts.flat().filter(Boolean));
}

/** The best answer and its runners-up: buttons, and the pressed one is what the text shows. */
function answersPart({ task, candidates }, named, view) {
  const buttons = candidates.map((candidate, rank) => {
    const words = candidate.answer ? el("span", { dir: "auto" }, candidate.answer) : el("span", { class: "none" }, "no answer in this text");
    return el("button", { type: "button", "aria-pressed": String(view.chosen === candidate), "data-start": candidate.start, "data-end": candidate.end, onclick: () => view.choose(candidate) },
      words, bar(candidate.score), el("span", { class: "score" }, el("span", { class: "unseen" }, rank ? "score " : "best, score "), percent(candidate.score)));
  });
  view.onchoice.push(() => buttons.forEach((button, rank) => button.setAttribute("aria-pressed", String(view.chosen === candidates[rank]))));
  const title = candidates.length > 1 ? "Answer, and the runners-up: choose one to see it in the text" : "Answer";
  return el("section", { class: "answers", "aria-label": named ? `Answer of ${task}` : "Answer" },
    el("h3", {}, named ? `${task}: ${title}` : title),
    el("ol", {}, buttons.map((button) => el("li", {}, button))));
}

/** Each type once with its count, in the order of /info's labels: colour class, words and number. A button hides and shows it. */
function typesPart(entities, view) {
  const counts = new Map();
  for (const { label } of entities) counts.set(label, (counts.get(label) ?? 0) + 1);
  const order = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
  return el("ul", { class: "types", "aria-label": "Entities of each type; press to hide or show" }, order.map((label) => el("li", {},
    el("button", {
      type: "button", class: typeClass(label), "aria-pressed": "true", "data-label": label,
      onclick: (event) => {
        const button = event.currentTarget;
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        view.show(label, on);
      },
    }, el("i", { "aria-hidden": "true" }), el("span", {}, label), WORDS[label] && el("span", { class: "note" }, WORDS[label][0]), el("b", {}, number(counts.get(label)))))));
}

function entityTable(entities) {
  return el("details", { id: "table" }, el("summary", {}, "The entities as a table"),
    el("div", { class: "table long", tabindex: 0, role: "region", "aria-label": "Entities" }, el("table", {},
      el("caption", {}, "Start and end count UTF-16 units, as JavaScript does."),
      el("thead", {}, el("tr", {}, ["Type", "Text"].map((name) => el("th", { scope: "col" }, name)), ["Start", "End", "Score"].map((name) => el("th", { scope: "col", class: "right" }, name)))),
      el("tbody", {}, entities.map((entity) => el("tr", {}, el("td", {}, entity.label), el("td", {}, el("bdi", {}, entity.text)),
        [entity.start, entity.end, percent(entity.score)].map((value) => el("td", { class: "right" }, String(value)))))))));
}

// ------------------------------------------------------------------------------------------------- the text with its marks

const classes = new Map(); // type -> colour class; kept, so that a type looks the same from result to result

function typeClass(label) {
  if (!classes.size) {
    // The types that /info names come first, in its order: the colours do not depend on the first text that is tried.
    const labels = (tasks() ?? []).filter((task) => task.shape === "spans").flatMap((task) => task.labels ?? []).map(String);
    const free = [...Array(COLOURS).keys()].filter((colour) => !labels.some((one) => WORDS[one]?.[1] === colour));
    for (const one of labels) if (WORDS[one]) classes.set(one, `t${WORDS[one][1]}`);
    for (const one of labels) if (!classes.has(one)) classes.set(one, free.length ? `t${free.shift()}` : nextClass());
  }
  if (!classes.has(label)) classes.set(label, WORDS[label] ? `t${WORDS[label][1]}` : nextClass());
  return classes.get(label);
}

/** The colour that the fewest types have so far; a second type of one colour is underlined in dashes. */
function nextClass() {
  const used = [...classes.values()];
  const times = [...Array(COLOURS).keys()].map((colour) => used.filter((one) => one.startsWith(`t${colour}`)).length);
  const least = Math.min(...times);
  return `t${times.indexOf(least)}${least ? " again" : ""}`;
}

/**
 * Draws spans into a copy of the text. Spans may touch, nest and cross, elements only nest: a span that crosses the end of
 * one that began before it goes on behind that end as another piece. `mark(span, first, last, words)` makes a piece's element.
 */
function draw(root, text, spans, mark) {
  const before = (a, b) => a.start - b.start || b.end - a.end || a.order - b.order;
  const queue = spans.map((span, order) => ({ span, order, start: span.start, end: span.end, first: true })).sort(before);
  const open = [{ node: root, end: text.length }];
  let at = 0;
  const write = (to) => {
    if (to > at) open.at(-1).node.append(text.slice(at, to));
    at = Math.max(at, to);
  };
  const advance = (to) => {
    while (open.length > 1 && open.at(-1).end <= to) {
      write(open.at(-1).end);
      open.pop();
    }
    write(to);
  };
  root.replaceChildren();
  for (let next = 0; next < queue.length; next += 1) {
    const piece = queue[next];
    advance(piece.start);
    const limit = open.at(-1).end;
    const crosses = piece.end > limit;
    if (crosses) {
      const rest = { ...piece, start: limit, first: false };
      const place = queue.findIndex((other, index) => index > next && before(rest, other) < 0);
      queue.splice(place < 0 ? queue.length : place, 0, rest);
    }
    const end = crosses ? limit : piece.end;
    const node = mark(piece.span, piece.first, !crosses, text.slice(piece.start, end));
    open.at(-1).node.append(node);
    open.push({ node, end });
  }
  advance(text.length);
}

/** The direction in which a piece of text ends: its label has to go on in it, or it would be drawn somewhere else on the line. */
function sideOf(words) {
  const last = words.match(/\p{L}(?=\P{L}*$)/u)?.[0];
  if (!last) return "none";
  if (/[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}]/u.test(last)) return "arabic";
  return /[\p{Script=Hebrew}\p{Script=Nko}]/u.test(last) ? "hebrew" : "left";
}

/** The rendered text: which answer is highlighted, which types are hidden, and the one tab stop that the arrow keys move. */
function textView(text, entities, best) {
  const node = el("div", { class: "read", id: "read", role: "group", "aria-label": "The text with what was found; arrow keys go from entity to entity" });
  const hidden = new Set();
  const view = { node, chosen: best, onchoice: [], show, choose };
  const stops = () => [...node.querySelectorAll("mark.entity[tabindex]:not(.off)")];

  function mark(span, first, last, words) {
    const element = span === view.answer
      ? el("mark", { class: "answer", "data-answer": true, "data-label": last && "answer" })
      : el("mark", { class: `entity ${typeClass(span.label)}`, "data-entity": span.index, "data-label": last && span.label, tabindex: first && -1, "aria-describedby": first && "tip" });
    element.classList.toggle("off", span !== view.answer && hidden.has(span.label));
    if (last) element.dataset.side = sideOf(words);
    described.set(element, span);
    return element;
  }
  function redraw() {
    // The answer comes first: of two spans with the same place it is the outer one.
    view.answer = view.chosen?.end > view.chosen?.start ? { ...view.chosen, label: "answer" } : null;
    draw(node, text, [...(view.answer ? [view.answer] : []), ...entities], mark);
    stops()[0]?.setAttribute("tabindex", 0);
  }
  function show(label, on) {
    if (on) hidden.delete(label);
    else hidden.add(label);
    redraw();
  }
  function choose(candidate) {
    view.chosen = candidate;
    redraw();
    view.onchoice.forEach((tell) => tell());
    bringIntoView(node.querySelector("mark.answer"));
    say(candidate.answer ? `Highlighted: ${candidate.answer}` : "Nothing is highlighted: no answer");
  }
  node.addEventListener("keydown", (event) => {
    const all = stops();
    const now = all.indexOf(document.activeElement);
    if (now < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now - 1, ArrowUp: now - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    all[Math.min(Math.max(to, 0), all.length - 1)].focus();
  });
  node.addEventListener("focusin", (event) => {
    for (const one of stops()) one.setAttribute("tabindex", one === event.target ? 0 : -1);
    showTip(event.target);
  });
  node.addEventListener("focusout", hideTip);
  node.addEventListener("pointerover", (event) => showTip(event.target.closest("mark")));
  node.addEventListener("pointerout", leaveTip);
  redraw();
  return view;
}

// ---------------------------------------------------------------------------------------------------------------- the tip

const described = new WeakMap(); // mark -> its entity or answer
let leaving = 0;

/** The types and scores of a mark and of the marks around it, above it, inside the window. */
function showTip(mark) {
  clearTimeout(leaving);
  const lines = [];
  for (let one = mark; one?.matches?.("mark"); one = one.parentElement) {
    const span = described.get(one);
    if (span && !one.classList.contains("off")) lines.push(el("p", {}, el("span", {}, [span.label, WORDS[span.label]?.[0]].filter(Boolean).join(", ")), el("b", {}, percent(span.score))));
  }
  if (!lines.length) return hideTip();
  const tip = $("tip");
  tip.replaceChildren(...lines);
  tip.hidden = false;
  const place = mark.getClientRects()[0];
  const wide = document.documentElement.clientWidth;
  const left = Math.min(Math.max(place.left, 8), wide - tip.offsetWidth - 8);
  const above = place.top - tip.offsetHeight - 6;
  tip.style.setProperty("left", `${left + scrollX}px`);
  tip.style.setProperty("top", `${(above > 0 ? above : place.bottom + 6) + scrollY}px`);
}

function hideTip() {
  clearTimeout(leaving);
  $("tip").hidden = true;
}

/** Hides the tip a little later: the pointer may be on its way onto it. A focused mark keeps its own. */
function leaveTip() {
  clearTimeout(leaving);
  leaving = setTimeout(() => {
    const focused = document.activeElement?.matches("mark.entity") ? document.activeElement : null;
    if (focused) showTip(focused);
    else hideTip();
  }, 150);
}

// ----------------------------------------------------------------------------------------------------- copying, and curl

/** Says something to screen readers that the page shows otherwise. */
function say(words) {
  $("said").textContent = words;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages from another machine without TLS have no clipboard API; the old command still works there.
    const area = el("textarea", { class: "unseen", readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function copyButton(name, text, label) {
  return el("button", {
    type: "button", "aria-label": label,
    onclick: async ({ currentTarget: button }) => {
      const words = (await copy(text())) ? "Copied" : "Could not copy";
      button.focus();
      button.textContent = words;
      say(words);
      setTimeout(() => (button.textContent = name), 1600);
    },
  }, name);
}

/** One word of a POSIX shell: in single quotes nothing is special but the single quote itself. */
const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;

function curl(path, body) {
  return [`curl -s ${quoted(new URL(path, document.baseURI).href.replace(/#.*$/, ""))}`, "-H 'content-type: application/json'",
    hasKey() && '-H "authorization: Bearer $POLYHEAD_KEY"', `-d ${quoted(JSON.stringify(body))}`].filter(Boolean).join(" \\\n  ");
}

/** The request that was just made as commands: the same one, and the same question in the forms of Hugging Face's APIs. */
function curlPart(body) {
  if (!HTTP) return null;
  const asked = (tasks() ?? []).filter((task) => task.pipeline && (body.tasks ?? []).includes(task.name));
  // Without a name in the address the server tells the task by the form of what is asked: one text, or an object of fields.
  const form = (task) => ((task.fields ?? []).length === 1 ? "text" : task.fields.join());
  const alone = (task) => (tasks() ?? []).filter((other) => other.pipeline && form(other) === form(task)).length < 2;
  const commands = [["The same request", curl("analyze", body)]];
  for (const task of asked) {
    const fields = task.fields ?? [];
    const inputs = fields.length === 1 ? valueOf(task, fields[0], body) : Object.fromEntries(fields.map((field) => [field, valueOf(task, field, body)]));
    commands.push([`Hugging Face form, ${task.name}`, curl(alone(task) ? "./" : `tasks/${encodeURIComponent(task.name)}`, { inputs })]);
  }
  return el("details", { id: "curl" }, el("summary", {}, "The request in curl"),
    hasKey() && el("p", { class: "note" }, "Put the key into the variable POLYHEAD_KEY of your shell first."),
    commands.map(([name, command]) => el("div", { class: "copyable" },
      el("div", { class: "label-row" }, el("span", {}, name), copyButton("Copy", () => command, `Copy: ${name}`)),
      el("pre", { tabindex: 0, "aria-label": name }, command))));
}

// ------------------------------------------------------------------------------------------------------- the model's view

const LIMITS = {
  __proto__: null,
  body_bytes: ["Size of a request", "bytes"], texts: ["Texts in a request", ""], characters: ["Length of a text", "characters"],
  tokens: ["Tokens in a request", ""], queue_tokens: ["Tokens waiting at most", ""],
  batch_tokens: ["Tokens in the model at a time", ""], connections: ["Connections at a time", ""],
  header_seconds: ["Time until a request's head is there", "seconds"], body_seconds: ["Time until its body is there", "seconds"],
  request_seconds: ["Time for an answer", "seconds"], write_seconds: ["Time without taking any of an answer", "seconds"],
  drain_seconds: ["Time for what was accepted when the server stops", "seconds"],
};

function table(caption, heads, rows) {
  return el("div", { class: "table" }, el("table", {}, el("caption", {}, caption),
    heads.length ? el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))) : null,
    el("tbody", {}, rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), rest.map((cell) => el("td", {}, cell)))))));
}

const plain = (value) => (typeof value === "number" ? number(value) : value == null ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));

/** A measure's name in words: `micro_f1_strict` is "micro F1, strict". */
const measureWords = (name) => name.replace(/_strict$/, ", strict").replaceAll("_", " ").replace(/\bf1\b/, "F1");

/** A measure's value with its unit. */
const measured = (name, value) => (name === "questions" ? number(value) : name === "loss" ? `${value.toFixed(4)} nats` : name === "mse" || name === "mae" ? value.toFixed(4)
  : name.endsWith("threshold") ? value.toFixed(2) : `${value.toFixed(2)} %`);

function about() {
  const { model = {}, limits = {}, offset_units: units } = info;
  const scores = Object.entries(model.scores ?? {});
  const figures = [
    ...scores.map(([task, { headline, values }]) => [`${task} ${measureWords(headline)}`, measured(headline, values[headline])]),
    ["Parameters", model.parameters], ["Precision", model.precision], ["Version of polyhead", info.version],
  ].filter(([, value]) => value != null);
  const origin = [["Encoder", model.encoder], ["Kept after epoch", model.epoch]].filter(([, value]) => value != null);
  return [
    el("h2", {}, model.name ?? "Model"),
    el("dl", { class: "figures" }, figures.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, plain(value))))),
    origin.length ? table("What it was trained from", [], origin.map(([name, value]) => [name, plain(value)])) : null,
    el("h2", {}, "Scores on the validation data"),
    scores.length ? el("div", { class: "beside" }, scores.map(([task, { values }]) => table(task, [], Object.entries(values)
      .map(([name, value]) => [measureWords(name), measured(name, value)]))))
      : el("p", { class: "note" }, "None are known: the model came without validation data, or from another program."),
    el("h2", {}, "Tasks"),
    // A column for each task: models have few of them, and so the table fits a phone.
    table("What the model can be asked, and what it answers with", ["Task", ...(tasks() ?? []).map((task) => task.name)], [
      ["Kind", (task) => plain(task.kind)], ["Answers with", (task) => plain(task.shape)], ["Pipeline", (task) => plain(task.pipeline)], ["Fields", (task) => (task.fields ?? []).join(", ")],
      ["Labels", (task) => (task.labels ?? []).join(", ") || "–"], ["Tokens at a time", (task) => plain(task.max_tokens)],
    ].map(([name, cell]) => [name, ...(tasks() ?? []).map(cell)])),
    Object.keys(limits).length === 0 ? null : el("details", { id: "limits" }, el("summary", {}, "Limits of this server"),
      table("What the server takes; more is answered with an error that says so", [], Object.entries(limits).map(([name, value]) => {
        const [words, unit] = LIMITS[name] ?? [name.replaceAll("_", " "), ""];
        return [words, `${plain(value)} ${unit}`.trim()];
      })),
      Array.isArray(units) ? el("p", { class: "note" }, `Offsets can be counted in: ${units.join(", ")}. This page asks for utf16.`) : null),
  ].filter(Boolean);
}

/**
 * The report in a frame, or why there is none. A frame sends no authorization header, so the page fetches the report with
 * the key and writes it into an empty page of the server's, whose policy allows the report's own style and no script.
 */
async function showReport() {
  const place = $("report");
  if (!place) return;
  let response = null, page = "";
  try {
    response = await fetch("report", { headers: authorization(), cache: "no-store" });
    page = await response.text();
  } catch {
    // Told below as any other way of not being there.
  }
  if (!response?.ok) {
    place.replaceChildren(el("p", { class: "note" }, response?.status === 404 ? "There is none: the server was given a model folder, not the folder of a run."
      : response?.status === 401 ? "It needs the API key of this server."
      : "It can't be loaded from the server now."));
    return;
  }
  const write = (target) => {
    target.document.open();
    target.document.write(page);
    target.document.close();
  };
  const frame = el("iframe", { src: "assets/report.html", title: "Report of the run: scores and curves", sandbox: "allow-same-origin allow-popups" });
  frame.addEventListener("load", () => write(frame.contentWindow), { once: true });
  const alone = () => {
    const window_ = open("assets/report.html", "_blank");
    window_?.addEventListener("load", () => write(window_), { once: true });
  };
  place.replaceChildren(
    el("p", {}, hasKey() ? el("button", { type: "button", onclick: alone }, "Open the report alone")
      : el("a", { href: "report", target: "_blank", rel: "noopener" }, "Open the report alone")),
    frame);
}

async function showModel() {
  if (!(await loadInfo())) return;
  $("about").replaceChildren(...about());
  if (!$("report")?.querySelector("iframe")) await showReport();
}

// --------------------------------------------------------------------------------------------------------------- the tabs

const views = ["try", "model"];

/** Shows the view that the address names after its #; other names are the first view. */
function route() {
  const name = views.includes(location.hash.slice(1)) ? location.hash.slice(1) : views[0];
  for (const view of views) {
    const tab = $(`tab-${view}`);
    tab.setAttribute("aria-selected", String(view === name));
    tab.setAttribute("tabindex", view === name ? 0 : -1);
    $(`panel-${view}`).hidden = view !== name;
  }
  hideTip();
  document.title = name === "model" ? "Model – polyhead" : "polyhead";
  if (name === "model") showModel();
}

function tabKeys(event) {
  const now = views.indexOf(event.target.id.replace("tab-", ""));
  const to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: views.length - 1 }[event.key] ?? (event.key === " " ? now : null);
  if (to === null || now < 0) return;
  event.preventDefault();
  const name = views[(to + views.length) % views.length];
  location.hash = name;
  $(`tab-${name}`).focus();
}

$("examples").append(...EXAMPLES.map(([name, text, question]) => el("button", {
  type: "button",
  onclick: () => {
    $("text").value = text;
    $("question").value = question;
    measure();
    analyze();
  },
}, name)));
if (/Mac|iPhone|iPad/.test(navigator.platform)) $("keys").replaceChildren(el("kbd", {}, "⌘"), " ", el("kbd", {}, "Enter"));
$("ask").addEventListener("submit", (event) => (event.preventDefault(), analyze()));
$("ask").addEventListener("input", measure);
$("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
    event.preventDefault();
    analyze();
  }
});
$("key-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  useKey($("key").value.trim());
  $("problem").replaceChildren();
  if (!(await loadInfo())) return;
  $("key-form").hidden = true;
  if (!$("panel-model").hidden) return showModel();
  $("text").focus();
  if ($("text").value.trim()) analyze();
});
$("tip").addEventListener("pointerenter", () => clearTimeout(leaving));
$("tip").addEventListener("pointerleave", leaveTip);
document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
document.querySelector(".tabs").addEventListener("keydown", tabKeys);
addEventListener("hashchange", route);
route();
if (location.hash !== "#model") loadInfo();
measure();
