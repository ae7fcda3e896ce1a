// The controls of a panel. Each has a real label, an id, `node` to show and `show(value)` that sets it without an event.
import { button, element } from "./dom.js";

const decimals = (step) => (String(step).split(".")[1] ?? "").length;

function bounded(text, { min, max, step }) { // the number in a field, on the steps and within the bounds; null for none
  if (text.trim() === "" || !Number.isFinite(Number(text))) return null;
  const low = min ?? -Infinity, high = max ?? Infinity, from = min ?? 0;
  const near = step ? from + Math.round((Number(text) - from) / step) * step : Number(text);
  return Number(Math.min(high, Math.max(low, near)).toFixed(step ? Math.max(decimals(step), decimals(from)) : 12));
}

function named(spec, id, ...fields) { // label above, fields below, what explains it last
  const parts = [element("div", { className: "dsnb-fields" }, ...fields)];
  parts.unshift(element("label", { htmlFor: id, textContent: spec.label ?? spec.name }));
  if (spec.help) {
    parts.push(element("div", { className: "dsnb-help", id: `${id}-help`, textContent: spec.help }));
    for (const field of fields) field.setAttribute("aria-describedby", `${id}-help`);
  }
  return element("div", { className: "dsnb-control" }, ...parts);
}

function numberField(spec, id, label, change) {
  const { min, max, step } = spec, field = element("input", { type: "number", id, disabled: Boolean(spec.disabled) });
  Object.assign(field, { min: min ?? "", max: max ?? "", step: step ?? "any" });
  if (label) field.setAttribute("aria-label", label);
  let shown = "";
  const show = (value) => { shown = field.value = value === null ? "" : String(Number(value.toFixed(6))); };
  field.onchange = () => {
    const value = bounded(field.value, spec);
    if (value === null) field.value = shown; // what is no number is taken back
    else { show(value); change(spec.name, value); }
  };
  field.onkeydown = (event) => { if (event.key === "Enter") field.onchange(); }; // no value: false would forbid the key
  return { field, show };
}

const kinds = {
  range(spec, id, change) {
    const { min = 0, max = 1, step = 0.01 } = spec, whole = { ...spec, min, max, step };
    const slider = element("input", { type: "range", id, min, max, step, disabled: Boolean(spec.disabled) });
    const { field, show } = numberField(whole, `${id}-number`, `${spec.label ?? spec.name}, as a number`, change);
    const tell = (value) => {
      slider.value = value;
      slider.style.setProperty("--share", `${(100 * (value - min)) / (max - min || 1)}%`);
      if (spec.unit) slider.setAttribute("aria-valuetext", `${value} ${spec.unit}`);
    };
    slider.oninput = () => { const value = bounded(slider.value, whole); tell(value); show(value); change(spec.name, value); };
    const unit = spec.unit ? [element("span", { className: "dsnb-unit", textContent: spec.unit })] : [];
    return { node: named(spec, id, slider, field, ...unit), show: (value) => { tell(value); show(value); } };
  },

  number(spec, id, change) {
    const { field, show } = numberField(spec, id, "", change);
    const unit = spec.unit ? [element("span", { className: "dsnb-unit", textContent: spec.unit })] : [];
    return { node: named(spec, id, field, ...unit), show };
  },

  text(spec, id, change) {
    const field = element("input", { type: "text", id, disabled: Boolean(spec.disabled), placeholder: spec.placeholder ?? "" });
    let wait;
    field.oninput = () => { clearTimeout(wait); wait = setTimeout(() => change(spec.name, field.value), 150); };
    field.onchange = () => { clearTimeout(wait); change(spec.name, field.value); };
    const show = (value) => { if (field.value !== value && document.activeElement !== field) field.value = value; };
    return { node: named(spec, id, field), show, stop: () => clearTimeout(wait) };
  },

  select(spec, id, change) {
    const field = element("select", { id, disabled: Boolean(spec.disabled) },
      ...spec.options.map(([value, text]) => element("option", { value, textContent: text })));
    field.onchange = () => change(spec.name, field.value);
    return { node: named(spec, id, field), show: (value) => { field.value = value; } };
  },

  check(spec, id, change) {
    const box = element("input", { type: "checkbox", id, disabled: Boolean(spec.disabled) });
    box.onchange = () => change(spec.name, box.checked);
    const label = element("label", { htmlFor: id, className: "dsnb-check" }, box);
    if (spec.color) label.append(element("i", { style: { background: spec.color }, ariaHidden: "true" }));
    label.append(spec.label ?? spec.name);
    const node = element("div", { className: "dsnb-control" }, label);
    if (spec.help) {
      node.append(element("div", { className: "dsnb-help", id: `${id}-help`, textContent: spec.help }));
      box.setAttribute("aria-describedby", `${id}-help`);
    }
    return { node, show: (value) => { box.checked = value; } };
  },

  radio(spec, id, change) {
    const boxes = spec.options.map(([value], i) => element("input",
      { type: "radio", name: id, id: `${id}-${i}`, value, disabled: Boolean(spec.disabled), onchange: () => change(spec.name, value) }));
    const choices = spec.options.map(([, text], i) => element("label", { htmlFor: `${id}-${i}` }, boxes[i], element("span", { textContent: text })));
    const node = element("div", { className: "dsnb-control" },
      element("div", { className: "dsnb-label", id: `${id}-label`, textContent: spec.label ?? spec.name }),
      element("div", { className: "dsnb-radio", role: "radiogroup", "aria-labelledby": `${id}-label` }, ...choices));
    if (spec.help) node.append(element("div", { className: "dsnb-help", textContent: spec.help }));
    return { node, show: (value) => boxes.forEach((box) => { box.checked = box.value === value; }) };
  },

  button(spec, id, change, press) {
    const node = button(spec.label ?? spec.name, spec.help ? `${spec.label ?? spec.name}: ${spec.help}` : spec.label ?? spec.name,
      () => press(spec.name), { id, disabled: Boolean(spec.disabled) });
    return { node: element("div", { className: "dsnb-control dsnb-press" }, node), show() {} };
  },
};

export const makeControl = (spec, id, change, press) => kinds[spec.kind](spec, id, change, press);
