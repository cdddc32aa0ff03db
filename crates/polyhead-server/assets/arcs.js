// Arcs over a text, from one marked part of it to another.
//
//   withArcs(element with marks, [{from: mark, to: mark, words}])
//
// An SVG lies over the text, drawn anew whenever the lines break elsewhere. An arc within a line goes over the words between its ends;
// an arc to another line crosses the lines between, and its words stand where it begins. The text keeps its own place: it can be
// selected and read as if there were no arcs.

const SPACE = "http://www.w3.org/2000/svg";
/** Pixels: the least and the greatest height of an arc, what an arc over others is higher, the length of an arrow's head. */
const [LOW, HIGH, STEP, HEAD] = [14, 24, 13, 7];

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Where a mark lies in its element: its middle, and its upper edge. */
function top(mark, box) {
  const { left, width, top } = mark.getClientRects()[0] ?? mark.getBoundingClientRect();
  return { x: left - box.left + width / 2, y: top - box.top };
}

/** How many of the arcs before it, which are shorter, an arc has to go over. */
function level(arc, before) {
  const [left, right] = [Math.min(arc.from.x, arc.to.x), Math.max(arc.from.x, arc.to.x)];
  const under = before.filter((other) => Math.abs(other.from.y - arc.from.y) < 4 && Math.min(other.from.x, other.to.x) <= right && Math.max(other.from.x, other.to.x) >= left);
  return under.length ? 1 + Math.max(...under.map((other) => other.level)) : 0;
}

export function withArcs(node, edges) {
  const drawing = svg("svg", { class: "drawing", "aria-hidden": "true" });

  function place() {
    const box = node.getBoundingClientRect();
    if (!box.width) return;
    const arcs = edges.map(({ from, to, words }) => ({ from: top(from, box), to: top(to, box), words }));
    const length = ({ from, to }) => Math.abs(from.x - to.x) + 10 * Math.abs(from.y - to.y);
    arcs.sort((a, b) => length(a) - length(b));
    drawing.replaceChildren();
    for (const [at, arc] of arcs.entries()) {
      const { from, to } = arc;
      arc.level = level(arc, arcs.slice(0, at));
      const inLine = Math.abs(from.y - to.y) < 4;
      const height = Math.min(HIGH, LOW + 0.04 * Math.abs(from.x - to.x)) + STEP * arc.level;
      // A curve whose ends go straight up is three quarters as high as its handles.
      const handle = (height * 4) / 3;
      const label = svg("text", { y: (inLine ? (from.y + to.y) / 2 - height : from.y - HIGH) - 3 }, arc.words);
      drawing.append(
        svg("path", { d: `M${from.x} ${from.y}C${from.x} ${from.y - handle} ${to.x} ${to.y - handle} ${to.x} ${to.y - HEAD}` }),
        svg("path", { class: "head", d: `M${to.x} ${to.y}l${-HEAD / 2} ${-HEAD}h${HEAD}z` }),
        label);
      const half = label.getComputedTextLength() / 2;
      const middle = inLine ? (from.x + to.x) / 2 : from.x;
      label.setAttribute("x", Math.max(half + 2, Math.min(middle, box.width - half - 2)));
    }
    // Room above the first line. What changes here is seen by the observer, which draws anew.
    node.style.setProperty("--levels", Math.max(0, ...arcs.map((arc) => arc.level)));
  }

  node.append(drawing);
  new ResizeObserver(place).observe(node);
  return node;
}
