"""How fast the tile browser shows its pages of 30 out of 20,000 tiles, in a real JupyterLab and Chromium.

    python tests/bench/bench_tile_browser.py        makes a synthetic slide of 35,840 x 28,000 pixels, 20,000 tiles

A page stands when each of its tiles shows its decoded picture. Times are milliseconds in the browser, medians of 10."""
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab

TILE, WIDE, HIGH = 224, 160, 125
CELL = 'browser = TileBrowser(tiles, slides)\nbrowser'
PREPARE = """import pandas as pd
from deepslide_nb.tile_browser import TileBrowser
slides, tiles = pd.read_parquet("slides.parquet"), pd.read_parquet("tiles.parquet")"""
BUSY = {
    "waits": "import time; time.sleep(15)",
    "counts in Python": "import time; end = time.time() + 15\nwhile time.time() < end: sum(range(1000))",
}
STANDS = """const stands = (before) => new Promise((resolve) => {
  const look = () => {
    const root = document.querySelector(".dsnb-browser");
    const pictures = root ? [...root.querySelectorAll(".dsnb-tile .dsnb-frame img")] : [];
    const there = pictures.length && pictures.every((one) => one.src && one.complete && one.naturalWidth);
    const first = root?.querySelector(".dsnb-where")?.textContent;
    if (there && first !== before.first && pictures[0].src !== before.src) resolve(performance.now()); else requestAnimationFrame(look);
  };
  look();
});
const now = () => ({ first: document.querySelector(".dsnb-where").textContent, src: document.querySelector(".dsnb-frame img").src });"""
FIRST = f"""async () => {{
  {STANDS}
  const start = performance.now();
  window.jupyterapp.commands.execute("notebook:run-all-cells");
  return await stands({{}}) - start;
}}"""
KEY = f"""async (key) => {{
  {STANDS}
  const before = now(), start = performance.now();
  document.querySelector(".dsnb-sheet").dispatchEvent(new KeyboardEvent("keydown", {{ key, bubbles: true }}));
  return await stands(before) - start;
}}"""
GO = f"""async (page) => {{
  {STANDS}
  const before = now(), start = performance.now(), box = document.querySelector(".dsnb-browser input[aria-label=page]");
  box.value = page;
  box.dispatchEvent(new Event("change"));
  return await stands(before) - start;
}}"""
CHANGE = """async ([key, test]) => {
  const done = new Function("return " + test), start = performance.now();
  document.querySelector(".dsnb-sheet").dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  while (!done()) await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""


def patches(count=96, px=256):
    "Pieces of the synthetic sample slides, so that files and pictures have the size of tissue."
    from deepslide_nb.tiles import read_tiles, sample_tiles

    slides, tiles = sample_tiles()
    some = tiles[tiles.tissue > 0.9].sample(count, random_state=0)
    return read_tiles(some.assign(size=192), slides, px)


def write_big(path):
    "A pyramid of WIDE x HIGH tiles of tissue."
    rng, pieces = np.random.default_rng(0), patches()
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for downsample in (1, 4, 16):
            w, h = WIDE * TILE // downsample, HIGH * TILE // downsample
            cells = -(-w // 256) * -(-h // 256)
            tif.write((pieces[i] for i in rng.integers(len(pieces), size=cells)), shape=(h, w, 3), dtype=np.uint8, tile=(256, 256),
                      photometric="rgb", compression="jpeg", subfiletype=int(downsample > 1),
                      resolution=(20000 / downsample,) * 2, resolutionunit="CENTIMETER")  # fmt: skip


def write_tables(folder):
    x, y = (TILE * a.ravel() for a in np.meshgrid(np.arange(WIDE), np.arange(HIGH)))
    rng = np.random.default_rng(0)
    tiles = pd.DataFrame({"slide_id": "big", "x": x, "y": y, "size": TILE, "mpp": 0.5, "tissue": rng.random(len(x), np.float32)})
    tiles["label"] = rng.choice(["normal", "acinar", "solid"], len(x))
    tiles.to_parquet(folder / "tiles.parquet")
    slide = {"slide_id": "big", "path": str(folder / "big.tif"), "label": "solid", "patient_id": "p", "split": "train", "mpp": 0.5}
    pd.DataFrame([slide]).to_parquet(folder / "slides.parquet")
    return len(tiles)


def line(name, times):
    print(f"| {name} | {statistics.median(times):.0f} | {min(times):.0f} | {max(times):.0f} |", flush=True)


def measure(page, address):
    lab.open_notebook(page, address, "n.ipynb", run=False)
    lab.in_kernel(page, PREPARE)
    print("| what | median ms | least | most |\n|---|---|---|---|")
    first = []
    for _ in range(11):
        first.append(page.evaluate(FIRST))
        page.wait_for_timeout(500)
        if len(first) < 11:
            lab.in_kernel(page, "browser.close()")
            page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
            page.locator(".dsnb-browser").wait_for(state="detached")
    line("first page, from running the cell, the very first", first[:1])
    line("first page, from running the cell", first[1:])
    rested = []
    for _ in range(10):
        page.wait_for_timeout(1500)
        rested.append(page.evaluate(KEY, "PageDown"))
    line("next page after 1.5 s (asked for ahead)", rested)
    line("next page at once", [page.evaluate(KEY, "PageDown") for _ in range(10)])
    page.wait_for_timeout(1000)
    rng = np.random.default_rng(1)
    line("any page", [page.evaluate(GO, int(p)) for p in rng.choice(np.arange(100, 660), 10, replace=False)])
    lab.in_kernel(page, "browser.sort('tissue')")
    page.wait_for_timeout(1500)
    line("any page, sorted: tiles from all over the slide", [page.evaluate(GO, int(p)) for p in rng.choice(np.arange(100, 660), 10, replace=False)])
    select = [page.evaluate(CHANGE, [" ", f"document.querySelector('.dsnb-tile').ariaSelected === '{on}'"]) for on in ["true", "false"] * 5]
    line("select a tile: seen", select)
    struck = "document.querySelector('.dsnb-tile').classList.contains('dsnb-rejected')"
    line("reject a tile: seen, by way of Python", [page.evaluate(CHANGE, ["x", not_ + struck]) for not_ in ["", "!"] * 5])
    for name, code in BUSY.items():
        page.evaluate(f"() => {{ window.busy = ({lab.RUN})(`{code}`); }}")
        page.wait_for_timeout(300)
        line(f"any page, while a cell {name}", [page.evaluate(GO, int(p)) for p in rng.choice(np.arange(100, 660), 10, replace=False)])
        page.evaluate("() => window.busy")
    assert not page.said, page.said


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_big(folder / "big.tif")
        print(f"{write_tables(folder):,} tiles, a slide of {(folder / 'big.tif').stat().st_size / 1e6:.0f} MB")
        lab.write_notebook(folder / "n.ipynb", [CELL])
        with lab.jupyterlab(folder) as address, lab.chromium(None) as page:
            measure(page, address)


if __name__ == "__main__":
    main()
