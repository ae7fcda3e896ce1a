// A gallery of small pictures of which one is picked: one takes the focus, arrows move it, Enter or a click picks.
import { element, image } from "./dom.js";
import "./gallery.css";

export function gallery(spec, id, pick) { // rows: data (bytes of a picture), label, color, text
  const items = spec.rows.map(({ data, label, color, text }, i) => {
    const lines = [element("i", { className: "dsnb-gallery-color", style: { background: color ?? "transparent" }, ariaHidden: "true" }), label];
    const item = element("li", { role: "option", ariaLabel: `${label}${text ? `, ${text}` : ""}`, title: text ?? "" },
      image(data, ""), element("span", { className: "dsnb-gallery-text", ariaHidden: "true" }, ...lines));
    item.dataset.row = i;
    return item;
  });
  const list = element("ul", { className: "dsnb-gallery", role: "listbox", ariaLabel: spec.title ?? spec.name }, ...items);
  const focusable = (k) => items.forEach((item, i) => { item.tabIndex = i === k ? 0 : -1; });
  const show = (picked) => items.forEach((item, i) => item.setAttribute("aria-selected", String(i === picked)));
  const choose = (i) => { show(i); focusable(i); pick(spec.name, i); };
  const inRow = () => items.filter((item) => item.offsetTop === items[0].offsetTop).length;
  list.onclick = (event) => {
    const item = event.target.closest("li");
    if (!item) return;
    item.focus({ preventScroll: true });
    choose(items.indexOf(item));
  };
  list.onkeydown = (event) => {
    const i = items.indexOf(event.target.closest("li"));
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, ArrowDown: i + inRow(), ArrowUp: i - inRow(), Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) {
      const next = Math.min(items.length - 1, Math.max(0, to));
      focusable(next);
      items[next].focus();
    } else if (event.key === "Enter" || event.key === " ") {
      choose(i);
    } else {
      return;
    }
    event.preventDefault();
  };
  show(spec.picked ?? null);
  focusable(Math.min(spec.picked ?? 0, items.length - 1));
  return [items.length ? list : element("p", { className: "dsnb-text", textContent: spec.empty ?? "no tile" })];
}
