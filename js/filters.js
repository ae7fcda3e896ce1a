// Filters and the sorting of a table: a control for each column, as choice, range or text.
import { button, element } from "./dom.js";

const PAUSE = 250; // milliseconds without typing until a filter is used

export function filterBar(model) {
  const added = new Set(); // columns that the reader asked for
  const place = element("div", { className: "dsnb-filters", role: "group", ariaLabel: "filters" });
  let timer = 0;

  const title = (column) => column.name.replaceAll("_", " ");
  const words = (value) => ({ True: "yes", False: "no" })[value] ?? value ?? "(none)";

  function set(name, value) { // undefined takes the filter away
    const filters = { ...model.get("filters") };
    delete filters[name];
    if (value !== undefined) filters[name] = value;
    model.set("filters", filters);
    model.save_changes();
  }

  function later(act) {
    clearTimeout(timer);
    timer = setTimeout(act, PAUSE);
  }

  function choice(column) {
    const box = element("select", { ariaLabel: `filter by ${title(column)}` }, new Option("all", ""),
      ...column.values.map((value, i) => new Option(words(value), i)));
    box.onchange = () => set(column.name, box.value === "" ? undefined : column.values[box.value]);
    const show = (wanted) => {
      const at = column.values.indexOf(wanted);
      box.value = wanted === undefined || at < 0 ? "" : at;
    };
    return { content: [element("label", {}, element("span", { textContent: title(column) }), box)], show };
  }

  function range(column) {
    const [least, most] = ["least", "most"].map((end, i) => element("input", {
      type: "number", step: "any", ariaLabel: `${end} ${title(column)}`, placeholder: column.ends[i] ?? "", autocomplete: "off",
    }));
    const number = (box) => (box.value === "" ? null : Number(box.value));
    const read = () => [number(least), number(most)];
    least.oninput = most.oninput = () => later(() => set(column.name, read().every((end) => end === null) ? undefined : read()));
    const show = (wanted) => {
      const ends = Array.isArray(wanted) ? wanted : [wanted ?? null, wanted ?? null];
      [least, most].forEach((box, i) => { if (number(box) !== ends[i]) box.value = ends[i] ?? ""; });
    };
    return { content: [element("span", { textContent: title(column) }), least, "\u2013", most], show };
  }

  function text(column) {
    const box = element("input", { type: "text", ariaLabel: `${title(column)} equals`, placeholder: "all", autocomplete: "off" });
    box.oninput = () => later(() => set(column.name, box.value === "" ? undefined : box.value));
    const show = (wanted) => { if (box.value !== (wanted ?? "")) box.value = wanted ?? ""; };
    return { content: [element("label", {}, element("span", { textContent: title(column) }), box)], show };
  }

  let controls = new Map(); // name -> show
  let more, clear;

  function build() {
    const filters = model.get("filters"), columns = model.get("columns");
    const here = columns.filter(({ name, shown }) => shown || added.has(name) || name in filters);
    controls = new Map();
    const fields = here.map((column) => {
      const made = column.kind === "number" ? range(column) : column.values ? choice(column) : text(column);
      controls.set(column.name, made.show);
      const drop = () => {
        added.delete(column.name);
        set(column.name, undefined);
        build();
        more.focus();
      };
      const cross = column.shown ? [] : [button("\u00d7", `remove the filter ${title(column)}`, drop)];
      const field = element("span", { className: "dsnb-field" }, ...made.content, ...cross);
      field.dataset.name = column.name;
      return field;
    });
    more = element("select", { ariaLabel: "filter by another column" }, new Option("More\u2026", ""),
      ...columns.filter((column) => !here.includes(column)).map((column) => new Option(title(column), column.name)));
    more.onchange = () => {
      const { value } = more;
      added.add(value);
      build();
      [...place.children].find((field) => field.dataset.name === value)?.querySelector("select, input").focus();
    };
    clear = button("Clear", "take all filters away", () => {
      added.clear();
      model.set("filters", {});
      model.save_changes();
      build();
      clear.focus();
    });
    place.replaceChildren(...fields, more, clear);
    show();
  }

  function show() {
    const filters = model.get("filters");
    if (Object.keys(filters).some((name) => !controls.has(name))) return build();
    for (const [name, showOne] of controls) showOne(filters[name]);
    for (const field of place.querySelectorAll(".dsnb-field")) field.classList.toggle("dsnb-in-use", field.dataset.name in filters);
  }

  model.on("change:columns", build);
  model.on("change:filters", show);
  build();
  const stop = () => {
    clearTimeout(timer);
    model.off("change:columns", build);
    model.off("change:filters", show);
  };
  return { place, stop };
}

export function sortBox(model) {
  const by = element("select", { ariaLabel: "sort by" });
  const way = button("", "", () => put(model.get("sort")[0], !model.get("sort")[1]));
  const place = element("span", { className: "dsnb-field" }, element("span", { textContent: "sort by" }), by, way);

  function put(column, descending) {
    model.set("sort", [column, descending]);
    model.save_changes();
  }

  function show() {
    const [column, descending] = model.get("sort");
    by.replaceChildren(new Option("table order", ""), ...model.get("columns").map(({ name }) => new Option(name.replaceAll("_", " "), name)));
    by.value = column ?? "";
    way.textContent = descending ? "\u2193 falling" : "\u2191 rising";
    way.ariaLabel = way.title = `sorted ${descending ? "falling" : "rising"}: change`;
    way.disabled = column === null;
  }

  by.onchange = () => put(by.value === "" ? null : by.value, model.get("sort")[1]);
  model.on("change:columns", show);
  model.on("change:sort", show);
  show();
  const stop = () => { model.off("change:columns", show); model.off("change:sort", show); };
  return { place, stop };
}
