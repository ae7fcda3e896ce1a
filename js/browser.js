// The tile browser: a page of pictures to move in, select and correct; what is where, Python knows.
import { button, element } from "./dom.js";
import { filterBar, sortBox } from "./filters.js";
import { pictureStore } from "./pictures.js";
import "./browser.css";

const LOUPE = 256; // pixels of the picture beside the page
const SIZES = [64, 96, 128, 192];
const KEYS = [["Arrows, Home, End", "move"], ["Space", "select"], ["Shift with arrows or click", "select up to there"],
  ["Ctrl+A", "select the page"], ["Escape", "to the tiles; there: select nothing"], ["1 \u2026 9", "label"], ["X", "reject or restore"],
  ["Ctrl+Z", "undo"], ["Enter or click", "pick: show in the viewer"], ["Page Up, Page Down", "turn the page"]];
const many = (count) => count.toLocaleString("en");

function render({ model, el }) {
  const id = `dsnb-${Math.random().toString(36).slice(2)}`;
  let at = 0; // which tile of the page is in focus
  let anchor = 0, stretch = null; // where a selection with Shift began, and how far it went
  let landing = null; // where to stand on the page that was asked for
  let seen = ""; // which tiles the reader was told of
  let chosen = new Set(), total = 0, sent = 0; // keys selected on this page, how many in all, number of the last request

  // ---- what the reader sees -------------------------------------------------------------------------------------
  const filters = filterBar(model), sort = sortBox(model);
  const refresh = button("Refresh", "filter and sort again, after corrections", () => model.send({ type: "refresh" }));
  const classes = element("span", { role: "group", ariaLabel: "label as" });
  const target = element("span", { className: "dsnb-target" });
  const name = element("input", { type: "text", ariaLabel: "name of a class", placeholder: "another class", autocomplete: "off" });
  const label = () => { if (name.value.trim()) { correct("relabel", { name: name.value }); name.value = ""; } };
  name.onkeydown = (event) => { if (event.key === "Enter") label(); }; // no value: false would forbid the key
  const undo = button("Undo", "", () => model.send({ type: "undo" }));
  const goOn = element("input", { type: "checkbox" });
  const corrections = element("div", { className: "dsnb-bar dsnb-corrections", role: "group", ariaLabel: "corrections" },
    target, classes, element("span", {}, name, button("Label", "give the class in the field", label)),
    element("span", {}, button("Reject", "reject, key X", () => correct("reject")), button("Restore", "restore what was rejected", () => correct("restore"))),
    undo, element("label", { title: "after a key that labels or rejects, move to the next tile" }, goOn, " go on after a key"));

  const page = element("div", { className: "dsnb-sheet", role: "listbox", tabIndex: 0, ariaMultiSelectable: "true", ariaLabel: "tiles" });
  page.setAttribute("aria-describedby", `${id}-keys`);
  const nothing = element("p", { className: "dsnb-nothing", textContent: "No tile fits these filters." });
  const loupe = element("img", { width: LOUPE, height: LOUPE, alt: "" }), facts = element("dl");
  const side = element("div", { className: "dsnb-loupe", role: "group", ariaLabel: "the tile in focus" }, loupe, facts);

  const where = element("span", { className: "dsnb-where" });
  const number = element("input", { type: "number", min: 1, step: 1, ariaLabel: "page" }), pages = element("span");
  number.onchange = () => turn(Number(number.value) || 1);
  const [first, back, next, last] = [["\u21e4", "first page", () => 1], ["\u2190 Previous", "previous page, key Page Up", (n) => n - 1],
    ["Next \u2192", "next page, key Page Down", (n) => n + 1], ["\u21e5", "last page", () => Infinity]]
    .map(([text, told, to]) => button(text, told, () => turn(to(model.get("page")))));
  const size = element("select", { ariaLabel: "size of the pictures" },
    ...[...new Set([...SIZES, model.get("px")])].sort((a, b) => a - b).map((px) => new Option(`${px} px`, px)));
  size.onchange = () => { model.set("px", Number(size.value)); model.save_changes(); };
  const selectPage = () => select(tiles().map(({ key }) => key).filter((key) => !chosen.has(key)), []);
  const selectAll = button("", "", () => selectMany("select found", tiles().map(({ key }) => key), Math.max(total, model.get("sheet").count)));
  const selectNone = () => selectMany("clear", [], 0);
  const clear = button("None", "select nothing", selectNone);
  const foot = element("div", { className: "dsnb-bar", role: "group", ariaLabel: "pages and selection" },
    element("span", {}, first, back, number, pages, next, last), where,
    element("span", {}, "Select", button("Page", "select all tiles of the page", selectPage), selectAll, clear), size);
  const keys = element("details", { className: "dsnb-shortcuts" }, element("summary", { textContent: "Keys" }),
    element("dl", { id: `${id}-keys` }, ...KEYS.map(([key, does]) =>
      element("div", {}, element("dt", { textContent: key }), element("dd", { textContent: does })))));
  const status = element("div", { className: "dsnb-status", role: "status", ariaLive: "polite" });
  const error = element("div", { className: "dsnb-error", role: "alert" });
  const root = element("div", { className: "dsnb dsnb-browser", role: "group", ariaLabel: "tile browser" },
    element("div", { className: "dsnb-bar" }, filters.place, sort.place, refresh), corrections,
    element("div", { className: "dsnb-body" }, element("div", { className: "dsnb-table" }, page, nothing), side), foot, keys, status, error);
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the keys: X would cut the cell
  el.append(root);

  // ---- the page -------------------------------------------------------------------------------------------------
  const store = pictureStore(model, showPictures);
  const tiles = () => model.get("sheet").tiles;
  const colors = () => new Map(model.get("classes"));
  const cells = []; // one for each place of a page, kept from page to page

  function cell(i) {
    const picture = element("img", { alt: "" }), text = element("span"), swatch = element("i");
    const wrong = element("span", { className: "dsnb-wrong", textContent: "cannot be read" });
    const tick = element("span", { className: "dsnb-tick", title: "select" }), extra = element("small");
    const chip = element("span", { className: "dsnb-chip" }, swatch, text, element("b", { textContent: "\u270e", title: "corrected" }));
    const option = element("div", { className: "dsnb-tile", role: "option", id: `${id}-${i}` },
      element("span", { className: "dsnb-frame" }, picture, wrong, element("span", { className: "dsnb-strike" }), extra), tick, chip);
    option.onclick = (event) => clicked(i, event, event.target === tick);
    return { option, picture, text, chip, swatch, extra };
  }

  function told(tile) { // a tile in words
    const { columns, first: begin } = model.get("sheet");
    const about = columns.map((column, i) => [column, tile.row[i]]).filter(([column]) => ["slide_id", "x", "y"].includes(column));
    const words = [tile.label ?? "no label", tile.corrected && "corrected", tile.rejected && "rejected"].filter(Boolean);
    const extra = tile.extra && `${model.get("sort")[0].replaceAll("_", " ")} ${tile.extra}`;
    return [...words, extra, ...about.map(([column, text]) => `${column.replace("slide_id", "slide")} ${text}`)].filter(Boolean).join(", ");
  }

  function showTiles() {
    const sheet = model.get("sheet"), color = colors();
    while (cells.length < sheet.tiles.length) cells.push(cell(cells.length));
    sheet.tiles.forEach((tile, i) => {
      const { option, text, chip, swatch, extra } = cells[i];
      option.className = `dsnb-tile${tile.rejected ? " dsnb-rejected" : ""}`;
      option.ariaLabel = told(tile);
      text.textContent = tile.label ?? "no label";
      chip.classList.toggle("dsnb-corrected", tile.corrected);
      chip.classList.toggle("dsnb-none", tile.label === null);
      swatch.hidden = tile.label === null;
      swatch.style.background = color.get(tile.label) ?? "transparent";
      extra.textContent = tile.extra;
    });
    page.replaceChildren(...cells.slice(0, sheet.tiles.length).map(({ option }) => option));
    page.hidden = !sheet.tiles.length;
    nothing.hidden = side.hidden = !page.hidden;
    side.hidden = page.hidden;
  }

  function showPictures() {
    const { tiles: here, order, next: after } = model.get("sheet"), px = model.get("px");
    here.forEach(({ key }, i) => {
      const { picture, option } = cells[i], found = store.get(key, px);
      if (picture.src !== (found?.url ?? "")) { if (found?.url) picture.src = found.url; else picture.removeAttribute("src"); }
      option.classList.toggle("dsnb-unread", Boolean(found?.wrong));
    });
    showError();
    const focused = here[at], big = focused && store.get(focused.key, LOUPE);
    const small = focused && store.get(focused.key, px);
    const source = big?.url ?? small?.url;
    if (source) loupe.src = source; else loupe.removeAttribute("src");
    const wish = (list, side) => list.map((key) => ({ key, px: side }));
    store.want([...wish(order, px), ...wish(focused ? [focused.key] : [], LOUPE), ...wish(after, px)]);
  }

  function showError() { // what Python says, else what is wrong with a picture of the page
    const wrong = tiles().map(({ key }) => store.get(key, model.get("px"))?.wrong).find(Boolean) ?? "";
    error.textContent = model.get("error") || wrong;
  }

  function showFocus() {
    const tile = tiles()[at], { columns } = model.get("sheet");
    cells.forEach(({ option }, i) => option.classList.toggle("dsnb-at", i === at));
    if (!tile) return page.removeAttribute("aria-activedescendant");
    page.setAttribute("aria-activedescendant", `${id}-${at}`);
    loupe.alt = `the tile in focus: ${told(tile)}`;
    facts.replaceChildren(...columns.flatMap((column, i) => (tile.row[i] === "" ? [] :
      [element("dt", { textContent: column.replaceAll("_", " ") }), element("dd", { textContent: tile.row[i] })])));
    showTarget();
  }

  function showSelection() {
    tiles().forEach(({ key }, i) => { cells[i].option.ariaSelected = String(chosen.has(key)); });
    const { count } = model.get("sheet");
    selectAll.textContent = `All ${many(count)}`;
    selectAll.ariaLabel = selectAll.title = `select all ${many(count)} tiles that fit the filters`;
    clear.disabled = !total;
    showTarget();
  }

  function showTarget() {
    target.textContent = total ? `${many(total)} selected:` : "Tile in focus:";
    target.classList.toggle("dsnb-some", total > 0);
  }

  function showClasses() {
    classes.replaceChildren(...model.get("classes").map(([text, color], i) =>
      button("", `label as ${text}${i < 9 ? `, key ${i + 1}` : ""}`, () => correct("relabel", { name: text }))));
    [...classes.children].forEach((made, i) => {
      const [text, color] = model.get("classes")[i];
      if (i < 9) made.append(element("kbd", { textContent: i + 1 }));
      made.append(element("i", { className: "dsnb-square", style: { background: color } }), text);
    });
  }

  function showSheet() {
    const { first: begin, tiles: here, count, total: all, pages: of, page: shown } = model.get("sheet");
    if (landing !== null && shown === model.get("page")) { at = landing < 0 ? here.length + landing : landing; landing = null; }
    at = Math.max(0, Math.min(at, here.length - 1));
    where.textContent = count ? `${many(begin + 1)}\u2013${many(begin + here.length)} of ${many(count)} tiles` : "no tiles";
    if (count < all) where.textContent += ` (${many(all)} in all)`;
    if (seen && seen !== where.textContent) status.textContent = `page ${shown} of ${many(of)}: ${where.textContent}`;
    seen = where.textContent;
    number.value = model.get("page");
    number.max = of;
    pages.textContent = `of ${many(of)}`;
    first.disabled = back.disabled = model.get("page") <= 1;
    next.disabled = last.disabled = model.get("page") >= of;
    page.ariaBusy = String(shown !== model.get("page"));
    takeSelection();
    showTiles();
    showSelection();
    showFocus();
    showPictures();
  }

  function takeSelection() {
    const { keys: here, total: all, view, number: known } = model.get("selection");
    if (view === store.view && known < sent) return; // an answer to an older request
    chosen = new Set(here);
    total = all;
  }

  // ---- what the reader does -------------------------------------------------------------------------------------
  function turn(to, land = 0) {
    const { pages: of } = model.get("sheet"), wanted = Math.max(1, Math.min(to, of));
    if (wanted === model.get("page")) { number.value = wanted; return; }
    store.forgive();
    landing = land;
    stretch = null;
    anchor = 0;
    model.set("page", wanted);
    model.save_changes();
  }

  function select(on, off) {
    for (const key of on) { total += !chosen.has(key); chosen.add(key); }
    for (const key of off) total -= chosen.delete(key);
    model.send({ type: "select", on, off, view: store.view, number: ++sent });
    showSelection();
  }

  function selectMany(type, keys, count) { // shown at once, so that the next key knows of it; Python then says how many
    chosen = new Set(keys);
    total = count;
    stretch = null;
    model.send({ type, view: store.view, number: ++sent });
    showSelection();
  }

  function toggle(i) {
    const { key } = tiles()[i];
    anchor = i;
    stretch = null;
    if (chosen.has(key)) select([], [key]); else select([key], []);
  }

  function extend(to) { // select from the anchor to here, and give up what an earlier stretch had beyond
    const keysBetween = (a, b) => tiles().slice(Math.min(a, b), Math.max(a, b) + 1).map(({ key }) => key);
    const now = keysBetween(anchor, to), before = stretch === null ? [] : keysBetween(anchor, stretch);
    stretch = to;
    select(now.filter((key) => !chosen.has(key)), before.filter((key) => !now.includes(key)));
  }

  function stand(i) {
    at = i;
    showFocus();
    showPictures();
    cells[i]?.option.scrollIntoView({ block: "nearest" });
  }

  function move(step, extending) {
    const { length } = tiles(), columns = columnCount(), to = at + step;
    if (extending) {
      const end = Math.max(0, Math.min(to, length - 1));
      extend(end);
      return stand(end);
    }
    stretch = null;
    const rowsBelow = Math.ceil(length / columns) - 1 > Math.floor(at / columns);
    if (to >= 0 && to < length) { anchor = to; stand(to); }
    else if (step === columns && rowsBelow) { anchor = length - 1; stand(length - 1); }
    else if (to >= length && model.get("page") < model.get("sheet").pages) turn(model.get("page") + 1, step === 1 ? 0 : at % columns);
    else if (to < 0 && model.get("page") > 1) turn(model.get("page") - 1, step === -1 ? -1 : -columns + (at % columns));
  }

  function columnCount() {
    const top = cells[0]?.option.offsetTop, { length } = tiles();
    const second = cells.slice(0, length).findIndex(({ option }) => option.offsetTop !== top);
    return second < 0 ? Math.max(1, length) : second;
  }

  function clicked(i, event, onTick) {
    page.focus({ preventScroll: true });
    at = i;
    if (event.shiftKey) extend(i);
    else if (event.ctrlKey || event.metaKey || onTick) toggle(i);
    else { anchor = i; stretch = null; pick(); }
    showFocus();
    showPictures();
  }

  function pick() {
    if (tiles()[at]) model.send({ type: "pick", key: tiles()[at].key });
  }

  function correct(type, more = {}) { // the selected tiles; without any, the one in focus
    if (total || tiles()[at]) model.send({ type, keys: total ? null : [tiles()[at].key], ...more });
  }

  function correctByKey(type, more) {
    correct(type, more);
    if (goOn.checked && !total) move(1, false);
  }

  function rejectOrRestore() {
    const aimed = total ? tiles().filter(({ key }) => chosen.has(key)) : tiles().slice(at, at + 1);
    correctByKey(aimed.length && aimed.every(({ rejected }) => rejected) ? "restore" : "reject");
  }

  function pageKey(event) { // a key while the page of tiles has the focus; whether it was one of ours
    const { key, shiftKey } = event, control = event.ctrlKey || event.metaKey, { length } = tiles();
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columnCount(), ArrowUp: -columnCount(), Home: -at, End: length - 1 - at };
    if (control) {
      if (key.toLowerCase() === "a") selectPage(); else return false;
    } else if (event.altKey || !length) return false;
    else if (key in steps) move(steps[key], shiftKey);
    else if (key === " ") { if (shiftKey) extend(at); else toggle(at); }
    else if (key === "Enter") pick();
    else if (key === "Escape" && total) selectNone();
    else if (key.toLowerCase() === "x") rejectOrRestore();
    else if (/^[1-9]$/.test(key) && key <= model.get("classes").length) correctByKey("relabel", { name: model.get("classes")[key - 1][0] });
    else return false;
    return true;
  }

  root.onkeydown = (event) => {
    const typing = event.target.matches("input:not([type=checkbox])"), control = event.ctrlKey || event.metaKey;
    if (event.target === page && pageKey(event)) { /* done */ }
    else if (event.key === "PageDown" && !event.target.matches("select")) turn(model.get("page") + 1);
    else if (event.key === "PageUp" && !event.target.matches("select")) turn(model.get("page") - 1);
    else if (event.key === "Escape" && event.target !== page) page.focus();
    else if (control && event.key.toLowerCase() === "z" && !typing) model.send({ type: "undo" });
    else return;
    event.preventDefault();
  };

  // ---- what Python does -----------------------------------------------------------------------------------------
  const listeners = {
    "change:sheet": showSheet,
    "change:page": () => { number.value = model.get("page"); page.ariaBusy = String(model.get("sheet").page !== model.get("page")); },
    "change:selection": () => { takeSelection(); showSelection(); },
    "change:classes": () => { showClasses(); showTiles(); },
    "change:px": () => { size.value = model.get("px"); root.style.setProperty("--px", `${model.get("px")}px`); showPictures(); },
    "change:undo": () => {
      undo.disabled = !model.get("undo");
      undo.ariaLabel = undo.title = model.get("undo") ? `undo: ${model.get("undo")}` : "nothing to undo";
    },
    "change:stale": () => { refresh.hidden = !model.get("stale"); },
    "change:message": () => { status.textContent = model.get("message"); },
    "change:error": showError,
  };
  for (const [event, listener] of Object.entries(listeners)) { model.on(event, listener); if (event !== "change:classes") listener(); }
  showClasses();

  return () => {
    for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
    filters.stop();
    sort.stop();
    store.stop();
  };
}

export default { render };
