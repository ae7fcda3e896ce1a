// Small helpers to build controls that a keyboard and a screen reader can use.

const KEYED = new Set(["button", "input", "select", "textarea", "tr"]);

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") Object.assign(made.style, value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  // JupyterLab's own keys go first to what has the focus, before any parent could keep them: arrows would move its cells
  if (KEYED.has(tag) || properties.tabIndex !== undefined) made.dataset.lmSuppressShortcuts = "true";
  made.append(...children);
  return made;
}

export function button(text, label, onclick, properties = {}) {
  return element("button", { type: "button", textContent: text, ariaLabel: label, title: label, onclick, ...properties });
}

export function image(data, alt, properties = {}) { // of the bytes of a picture, which are given back once it is drawn
  const url = URL.createObjectURL(new Blob([data]));
  const made = element("img", { alt, src: url, ...properties });
  made.onload = made.onerror = () => URL.revokeObjectURL(url);
  return made;
}
