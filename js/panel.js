// A form and what answers it: controls at the left or on top, sections (pictures, tables, text, bars, curves) beside them.
import { element } from "./dom.js";
import { makeControl } from "./controls.js";
import { drawSection } from "./sections.js";
import "./panel.css";

function render({ model, el }) {
  const id = `dsnb-${Math.random().toString(36).slice(2)}`;
  const form = element("form", { className: "dsnb-controls", ariaLabel: "settings", onsubmit: (event) => event.preventDefault() });
  const grid = element("div", { className: "dsnb-sections" });
  const status = element("div", { className: "dsnb-status", role: "status", ariaLive: "polite" });
  const error = element("div", { className: "dsnb-error", role: "alert" });
  const body = element("div", { className: "dsnb-panel-body" }, form, grid);
  const heading = element("div", { className: "dsnb-title" });
  const root = element("div", { className: "dsnb dsnb-panel", role: "group" }, heading, body, status, error);
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the keys
  el.append(root);
  const controls = new Map(); // name -> { spec, node, show }
  const names = []; // of controls ever seen: any text, so an id is made of the place in this list
  const drawn = []; // one { node, spec } for each section

  // ---- controls -------------------------------------------------------------------------------------------------
  function change(name, value) { // the widget manager holds what comes while Python is busy: the newest value wins
    if (Object.is(model.get("values")[name], value)) return;
    model.set("values", { ...model.get("values"), [name]: value });
    model.save_changes();
  }

  const press = (name) => model.send({ type: "press", name });

  function showControls() {
    const wanted = model.get("controls"), focused = document.activeElement?.id;
    const groups = new Map(), kept = new Map();
    for (const spec of wanted) {
      const old = controls.get(spec.name), same = old && JSON.stringify(old.spec) === JSON.stringify(spec);
      if (!names.includes(spec.name)) names.push(spec.name);
      const made = same ? old : { spec, ...makeControl(spec, `${id}-c${names.indexOf(spec.name)}`, change, press) };
      kept.set(spec.name, made);
      const group = spec.group ?? "";
      if (!groups.has(group)) groups.set(group, []);
      if (!spec.hidden) groups.get(group).push(made.node);
    }
    controls.clear();
    for (const [name, made] of kept) controls.set(name, made);
    form.replaceChildren(...[...groups].filter(([, nodes]) => nodes.length).map(([name, nodes]) => name
      ? element("fieldset", {}, element("legend", { textContent: name }), ...nodes)
      : element("div", { className: "dsnb-group" }, ...nodes)));
    form.hidden = !form.children.length;
    if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus();
    showValues();
  }

  function showValues() {
    const values = model.get("values");
    for (const [name, { show }] of controls) if (name in values) show(values[name]);
  }

  // ---- sections -------------------------------------------------------------------------------------------------
  const pick = (section, row) => model.send({ type: "pick", section, row });

  function showSection(index) {
    const spec = model.get(`section_${index}`);
    if (!spec || index >= model.get("count")) return;
    const old = drawn[index]?.node, at = old?.querySelector(".dsnb-scroll")?.scrollTop ?? 0;
    const row = old?.contains(document.activeElement) ? document.activeElement.dataset.row : undefined;
    const node = drawSection(spec, `${id}-s${index}`, pick);
    if (old?.querySelector(".dsnb-scroll")) sized.unobserve(old.querySelector(".dsnb-scroll"));
    if (old) old.replaceWith(node); else grid.append(node);
    drawn[index] = { node };
    const scroll = node.querySelector(".dsnb-scroll");
    if (scroll) { scroll.scrollTop = at; sized.observe(scroll); }
    if (row !== undefined) (node.querySelector(`[data-row="${row}"]`) ?? node.querySelector("[tabindex='0']"))?.focus();
    listen(index);
  }

  const sized = new ResizeObserver((seen) => { // what can be scrolled must be reached by keyboard
    for (const { target: box } of seen.filter((one) => one.target.getAttribute("role") === "region")) {
      if (box.scrollHeight > box.clientHeight || box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  });

  const showers = [];
  function listen(index) {
    if (!showers[index]) model.on(`change:section_${index}`, showers[index] = () => showSection(index));
  }

  function showAll() {
    const count = model.get("count");
    while (drawn.length > count) drawn.pop().node.remove();
    for (let i = drawn.length; i < count; i++) showSection(i);
  }

  function showFrame() {
    const title = model.get("title"), height = model.get("height");
    heading.textContent = title;
    heading.hidden = !title;
    root.setAttribute("aria-label", title || "panel");
    root.classList.toggle("dsnb-top", model.get("place") === "top");
    root.style.setProperty("--panel-height", height ? `${height}px` : "none");
  }

  const listeners = {
    "change:controls": showControls, "change:values": showValues, "change:count": showAll,
    "change:title": showFrame, "change:height": showFrame, "change:place": showFrame,
    "change:message": () => { status.textContent = model.get("message"); },
    "change:error": () => { error.textContent = model.get("error"); },
  };
  for (const [name, listener] of Object.entries(listeners)) model.on(name, listener);
  showFrame();
  showControls();
  showAll();
  status.textContent = model.get("message");
  error.textContent = model.get("error");

  return () => {
    for (const [name, listener] of Object.entries(listeners)) model.off(name, listener);
    showers.forEach((listener, i) => model.off(`change:section_${i}`, listener));
    sized.disconnect();
    for (const { stop } of controls.values()) stop?.();
  };
}

export default { render };
