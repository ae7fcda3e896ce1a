import "./browser.css";

function render({ model, el }) {}

export default { render };
