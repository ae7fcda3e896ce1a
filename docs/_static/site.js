// What scrolls sideways can be reached with the keyboard.
function mark() {
  for (const box of document.querySelectorAll("pre, .table-wrapper, .cell_output > .output")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

mark();
addEventListener("resize", mark);
