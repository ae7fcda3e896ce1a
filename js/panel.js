import "./panel.css";

function render({ model, el }) {}

export default { render };
