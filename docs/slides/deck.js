// Starts reveal.js, and makes each slide fit. Pictures get what text and code leave, but at least some height; for that the text
// becomes smaller, down to 60 %. A single picture stands at the right where it is larger there.
const tries = [[300, 84], [220, 76], [150, 68], [120, 60]]; // least height of a picture, smallest text in % for its sake
const cut = (box) => box.scrollWidth > box.clientWidth + 1;
const isFull = (page) => page.scrollHeight > page.clientHeight + 1 || [...page.querySelectorAll("pre, .html")].some(cut);
const pictures = (page) => [...page.querySelectorAll(":scope > img, :scope > .fragment > img")];
const scale = (img) => Math.min(img.clientWidth / img.naturalWidth, img.clientHeight / img.naturalHeight);

function shrink(page) {
  for (const [least, smallest] of tries) {
    for (const img of pictures(page)) img.style.minHeight = `${Math.min(least, (1168 * img.naturalHeight) / img.naturalWidth)}px`;
    for (let size = 100; size >= smallest; size -= 4) {
      page.style.fontSize = `${size}%`;
      page.dataset.size = size; // in the end 0 where nothing helps
      if (!isFull(page)) return size;
    }
  }
  return (page.dataset.size = 0);
}

function fit(page) {
  const [img, more] = pictures(page);
  const size = shrink(page);
  if (!img || more) return;
  const stacked = scale(img);
  page.classList.add("side");
  if (shrink(page) < Math.min(size, 76) || scale(img) < 1.25 * stacked) {
    page.classList.remove("side");
    shrink(page);
  }
}

Reveal.initialize({ width: 1280, height: 720, margin: 0.02, center: false, hash: true, slideNumber: "c/t", transition: "none", plugins: [RevealNotes] })
  .then(() => document.fonts.ready)
  .then(() => Promise.all([...document.images].map((i) => i.decode().catch(() => null))))
  .then(() => {
    document.documentElement.classList.add("fitting"); // shows all slides, to be measured
    document.querySelectorAll(".page").forEach(fit);
    document.documentElement.classList.replace("fitting", "fitted");
  });
