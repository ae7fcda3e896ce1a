// What a panel shows beside its controls. Every text comes from data and is only ever set as text.
import { element, image } from "./dom.js";
import { gallery } from "./gallery.js";

const SVG = "http://www.w3.org/2000/svg";

function shape(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function key(items) { // a legend: pairs of a text and a colour, or triples with a pattern
  return element("ul", { className: "dsnb-keys" }, ...items.map(([text, color, pattern]) => element("li", { className: "dsnb-key" },
    element("i", { className: `dsnb-swatch dsnb-${pattern ?? "full"}`, style: { color }, ariaHidden: "true" }),
    text)));
}

// ---- tables ---------------------------------------------------------------------------------------------------
function fill(node, cell) { // a cell is a text, or { text, color, shade, bold, title }
  if (typeof cell !== "object" || cell === null) { node.textContent = cell ?? ""; return; }
  node.classList.toggle("dsnb-dotted", Boolean(cell.color));
  if (cell.color) node.append(element("i", { className: "dsnb-dot", style: { background: cell.color }, ariaHidden: "true" }));
  node.append(cell.text ?? "");
  if (cell.bold) node.classList.add("dsnb-bold");
  if (cell.title) node.title = cell.title;
  if (cell.shade !== undefined) {
    node.style.background = `color-mix(in srgb, #004b7a ${Math.round(100 * cell.shade)}%, #fff)`;
    if (cell.shade > 0.5) node.style.color = "#fff";
  }
}

function table(spec, id, pick) {
  const { columns, rows, marks = [], numeric = [] } = spec;
  const side = (k) => (numeric.includes(k) ? "dsnb-number" : "");
  const head = element("tr", {}, ...columns.map((text, k) => element("th", { scope: "col", className: side(k), textContent: text })));
  const body = element("tbody", {}, ...rows.map((cells, i) => {
    const row = element("tr", { className: [marks[i]].flat().filter(Boolean).map((m) => `dsnb-mark-${m}`).join(" ") });
    row.dataset.row = i;
    row.append(...cells.map((cell, k) => {
      const node = k === 0 && spec.row_heads ? element("th", { scope: "row" }) : element("td", { className: side(k) });
      fill(node, cell);
      return node;
    }));
    return row;
  }));
  const made = element("table", {}, element("thead", {}, head), body);
  if (spec.caption) made.prepend(element("caption", { textContent: spec.caption }));
  const scroll = element("div", { className: "dsnb-scroll" }, made);
  if (spec.selectable && rows.length) selectable(made, body, spec, pick);
  else Object.assign(scroll, { role: "region", ariaLabel: spec.title ?? spec.name });
  made.setAttribute("aria-label", spec.title ?? spec.name);
  return [scroll];
}

function selectable(made, body, spec, pick) { // one row takes the focus; arrows move it, Enter or a click picks
  const rows = [...body.children];
  made.setAttribute("role", "grid");
  made.classList.add("dsnb-picks");
  for (const cell of made.querySelectorAll("thead th")) cell.setAttribute("role", "columnheader");
  for (const cell of body.querySelectorAll("td, th")) cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "gridcell");
  const show = (picked) => rows.forEach((row, i) => {
    row.setAttribute("aria-selected", String(i === picked));
    row.tabIndex = i === (picked ?? 0) || (picked >= rows.length && i === 0) ? 0 : -1;
  });
  const choose = (i) => { show(i); pick(spec.name, i); };
  const walk = (i) => {
    const to = rows[Math.min(rows.length - 1, Math.max(0, i))];
    for (const row of rows) row.tabIndex = row === to ? 0 : -1;
    to.focus({ preventScroll: true });
    seen(to);
  };
  const seen = (row) => { // scrolls the table alone, not the notebook
    const box = made.parentElement, head = made.tHead.offsetHeight;
    if (row.offsetTop - head < box.scrollTop) box.scrollTop = row.offsetTop - head;
    if (row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = row.offsetTop + row.offsetHeight - box.clientHeight;
  };
  body.onclick = (event) => {
    const row = event.target.closest("tr");
    if (!row) return;
    row.focus({ preventScroll: true });
    choose(rows.indexOf(row));
  };
  body.onkeydown = (event) => {
    const i = rows.indexOf(event.target.closest("tr"));
    const to = { ArrowDown: i + 1, ArrowUp: i - 1, PageDown: i + 10, PageUp: i - 10, Home: 0, End: rows.length - 1 }[event.key];
    if (to !== undefined) walk(to);
    else if (event.key === "Enter" || event.key === " ") choose(i);
    else return;
    event.preventDefault();
  };
  show(spec.picked ?? null);
}

// ---- pictures, texts, bars ------------------------------------------------------------------------------------
function picture(spec) {
  const shown = image(spec.data, spec.alt ?? "", { className: spec.pixelated ? "dsnb-pixelated" : "" });
  const frame = element("figure", { className: "dsnb-figure" }, shown);
  if (spec.legend) frame.append(key(spec.legend));
  if (spec.caption) frame.append(element("figcaption", { textContent: spec.caption }));
  return [frame];
}

function text(spec) {
  const tag = spec.tone === "code" ? "pre" : "p";
  const made = element(tag, { textContent: spec.text, className: `dsnb-text dsnb-tone-${spec.tone ?? "note"}` });
  if (tag === "pre") Object.assign(made, { tabIndex: 0, role: "region", ariaLabel: spec.title ?? spec.name });
  return [made];
}

function bars(spec) {
  const top = spec.top ?? Math.max(...spec.bars.map((bar) => bar.value), 1e-12);
  return [element("dl", { className: "dsnb-bars" }, ...spec.bars.map((bar) => element("div", {},
    element("dt", { textContent: bar.label }),
    element("dd", {}, element("span", { className: "dsnb-track", ariaHidden: "true" },
      element("i", { style: { width: `${(100 * Math.max(0, bar.value)) / top}%`, background: bar.color ?? bar.colour ?? "#004b7a" } })),
    element("span", { textContent: bar.text ?? String(bar.value) })))))];
}

function numbers(spec) {
  return [element("dl", { className: "dsnb-numbers" }, ...spec.numbers.map((one) => element("div", {},
    element("dt", { textContent: one.label }),
    element("dd", {}, element("b", { textContent: one.value }), element("span", { textContent: one.note ?? "" })))))];
}

// ---- curves ---------------------------------------------------------------------------------------------------
const DASHES = ["", "7 4", "7 3 2 3", "2 3"];

function curves(spec) { // lines in the unit square, such as ROC curves
  const size = 260, pad = { left: 38, top: 8, right: 8, bottom: 34 };
  const px = (x) => pad.left + x * (size - pad.left - pad.right), py = (y) => size - pad.bottom - y * (size - pad.top - pad.bottom);
  const label = (x, y, words, more = {}) => shape("text", { x, y, ...more }, words);
  const marks = [0, 0.25, 0.5, 0.75, 1];
  const drawing = shape("svg", { viewBox: `0 0 ${size} ${size}`, class: "dsnb-curves", role: "img", "aria-label": spec.alt ?? spec.name },
    ...marks.flatMap((v) => [
      shape("path", { d: `M${px(0)} ${py(v)}H${px(1)}M${px(v)} ${py(0)}V${py(1)}`, class: "dsnb-gridline" }),
      label(px(v), size - pad.bottom + 14, String(v), { "text-anchor": "middle" }),
      label(pad.left - 5, py(v) + 3.5, String(v), { "text-anchor": "end" })]),
    shape("path", { d: `M${px(0)} ${py(0)}L${px(1)} ${py(1)}`, class: "dsnb-chance" }),
    ...spec.lines.map((line, i) => shape("path", { d: line.points.map(([x, y], k) => `${k ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join(""),
      class: "dsnb-line", stroke: line.color, "stroke-dasharray": DASHES[i % 4] })),
    ...spec.lines.filter((line) => line.at).map((line) => shape("circle", { cx: px(line.at[0]), cy: py(line.at[1]), r: 4.5, fill: line.color, class: "dsnb-point" })),
    label(px(0.5), size - 4, spec.x ?? "", { "text-anchor": "middle" }),
    label(10, py(0.5), spec.y ?? "", { "text-anchor": "middle", transform: `rotate(-90 10 ${py(0.5)})` }));
  const list = element("ul", { className: "dsnb-keys" }, ...spec.lines.map((line, i) => {
    const sample = shape("svg", { viewBox: "0 0 26 8", class: "dsnb-sample", "aria-hidden": "true" },
      shape("path", { d: "M0 4H26", class: "dsnb-line", stroke: line.color, "stroke-dasharray": DASHES[i % 4] }));
    return element("li", { className: "dsnb-key" }, sample, element("span", { textContent: line.text ?? line.name }));
  }));
  return [element("div", { className: "dsnb-plot" }, drawing, list)];
}

const kinds = { picture, table, gallery, text, bars, numbers, curves };

export function drawSection(spec, id, pick) {
  const title = spec.title ?? spec.name;
  const made = element("section", { className: `dsnb-section dsnb-is-${spec.kind}` }, ...(kinds[spec.kind] ?? text)(spec, id, pick));
  made.setAttribute("aria-label", title);
  if (title && spec.title !== "") made.prepend(element("h4", { textContent: title }));
  if (spec.note) made.append(element("p", { className: "dsnb-help", textContent: spec.note }));
  made.style.setProperty("--width", spec.width ?? 6);
  made.style.setProperty("--rows", spec.span ?? 1);
  if (spec.height) { // the same whatever it holds, so that nothing jumps while a slider is dragged
    made.style.setProperty("--panel-height", `${spec.height}px`);
    made.style.setProperty("--least", `${spec.height + 44}px`);
  }
  return made;
}
