// A dependency tree as an SVG: the words in a row with their tags below, an arc from each head to each word that hangs from it,
// with an arrowhead at the word and the relation on top. The root has an arrow from above.
//
//   words  [{text, head, label, score}]   heads count words from 1; 0 is the root
//   tags   a tag for each word, or null
//
// Sizes are pixels. Widths of texts are measured, so that nothing overlaps: words make room for themselves, for their tags, and for
// the relations on the arcs between them.

const FONT = { word: 16, tag: 12, label: 12 };
const GAP = 14; // between two words
const LEVEL = 26; // an arc above another
const AROUND = 8; // beside a relation on its arc
const SIDE = 5; // arcs leave a word beside its middle, and arrive there
const BEND = 10; // of the corners of an arc
const EDGE = 16;
/** Arcs below this score are dashed. */
const UNSURE = 0.5;

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) node.setAttribute(name, value);
  node.append(...children.filter((child) => child != null));
  return node;
}

/** What measures the width of a text in the page's font. */
function measure() {
  const context = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(document.body).fontFamily;
  return (text, size, weight = 400) => {
    context.font = `${weight} ${size}px ${family}`;
    return context.measureText(text).width;
  };
}

/** The arcs between words: from left to right, which end is the word, and how high each must be to clear those inside of it. */
export function arcsOf(words) {
  const arcs = [];
  words.forEach((word, at) => {
    const head = word.head - 1;
    if (head < 0 || head >= words.length || head === at) return;
    arcs.push({ from: Math.min(head, at), to: Math.max(head, at), head, word: at, label: String(word.label), score: word.score, level: 1 });
  });
  arcs.sort((a, b) => a.to - a.from - (b.to - b.from) || a.from - b.from);
  arcs.forEach((arc, at) => {
    const below = arcs.slice(0, at).filter((other) => other.from < arc.to && arc.from < other.to);
    arc.level = 1 + Math.max(0, ...below.map((other) => other.level));
  });
  return arcs;
}

/** Where the middle of each word stands, from left to right, and how wide it all is. */
export function placesOf(words, tags, arcs, width) {
  const widths = words.map((word, at) => Math.max(width(word.text, FONT.word), tags?.[at] ? width(tags[at], FONT.tag) : 0, 2 * SIDE));
  const places = [];
  let end = EDGE;
  for (const own of widths) {
    places.push(end + own / 2);
    end += own + GAP;
  }
  // From left to right, so that what was moved stays far enough apart.
  for (const arc of [...arcs].sort((a, b) => a.to - b.to || b.from - a.from)) {
    const lacks = width(arc.label, FONT.label) + 2 * AROUND + 2 * SIDE - (places[arc.to] - places[arc.from]);
    if (lacks > 0) for (let at = arc.to; at < places.length; at += 1) places[at] += lacks;
  }
  return { places, total: places.length ? places.at(-1) + widths.at(-1) / 2 + EDGE : 2 * EDGE };
}

/** Whether a text is written from right to left, by its first letter that says so. */
const isRightToLeft = (text) => /^[^\p{L}]*[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u.test(text);

/** The picture. `percent` writes a score. */
export function treePicture(words, tags, percent) {
  const width = measure();
  const arcs = arcsOf(words);
  const { places, total } = placesOf(words, tags, arcs, width);
  const roots = words.map((word, at) => ({ word, at })).filter(({ word }) => word.head === 0);
  const mirrored = isRightToLeft(words.map((word) => word.text).join(" "));
  const x = (place) => (mirrored ? total - place : place);
  const levels = Math.max(0, ...arcs.map((arc) => arc.level)) + (roots.length ? 1 : 0);
  const base = EDGE + levels * LEVEL + 6;
  const height = base + FONT.word + (tags ? FONT.tag + 8 : 0) + 14;
  const top = (level) => base - level * LEVEL;
  const lines = [], labels = [];

  const label = (text, middle, y, title) => {
    const own = width(text, FONT.label) + 6;
    labels.push(svg("g", { class: "over" }, svg("title", {}, title),
      svg("rect", { x: middle - own / 2, y: y - FONT.label / 2 - 2, width: own, height: FONT.label + 4, rx: 3 }),
      svg("text", { x: middle, y, "dominant-baseline": "central", "text-anchor": "middle" }, text)));
  };
  const arrow = (at, y) => svg("path", { class: "head", d: `M${at} ${y} l-4 -8 h8 z` });
  const line = (d, at, y, score) => lines.push(svg("g", { class: score < UNSURE ? "arc unsure" : "arc" }, svg("path", { class: "line", d }), arrow(at, y)));

  for (const arc of arcs) {
    // It leaves its head on the side of the word, and arrives at the middle of the word.
    const side = arc.head < arc.word ? 1 : -1;
    const start = x(places[arc.head] + side * SIDE), end = x(places[arc.word]);
    const direction = Math.sign(end - start), high = top(arc.level), bend = Math.min(BEND, Math.abs(end - start) / 2);
    const foot = base - 7;
    line(`M${start} ${foot} V${high + bend} Q${start} ${high} ${start + direction * bend} ${high} H${end - direction * bend} Q${end} ${high} ${end} ${high + bend} V${foot - 6}`, end, foot, arc.score);
    label(arc.label, (start + end) / 2, high, `${words[arc.head].text} → ${words[arc.word].text}: ${arc.label}, ${percent(arc.score)}`);
  }
  for (const { word, at } of roots) {
    const middle = x(places[at]), foot = base - 7;
    line(`M${middle} ${top(levels)} V${foot - 6}`, middle, foot, word.score);
    label(String(word.label), middle, top(levels), `${word.text}: ${word.label}, ${percent(word.score)}`);
  }
  const written = words.flatMap((word, at) => [
    svg("text", { class: "word", x: x(places[at]), y: base + FONT.word, "text-anchor": "middle" }, word.text),
    tags?.[at] ? svg("text", { class: "under", x: x(places[at]), y: base + FONT.word + FONT.tag + 8, "text-anchor": "middle" }, tags[at]) : null,
  ]).filter(Boolean);
  // The labels come last: their ground parts the lines that pass behind them.
  return svg("svg", { class: "tree", width: Math.ceil(total), height: Math.ceil(height), viewBox: `0 0 ${Math.ceil(total)} ${Math.ceil(height)}`, role: "img", "aria-label": "Dependency tree; the table below says the same" },
    ...lines, ...labels, ...written);
}
