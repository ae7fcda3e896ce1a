"""How fast the slide viewer answers in a real JupyterLab and Chromium: first picture, tiles while panning, busy kernel.

    python tests/bench/bench_viewer.py [SLIDE]      without SLIDE: a sparse synthetic one of 100,000 x 100,000 pixels
"""
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab

CELL = """from deepslide_nb.viewer import SlideViewer
viewer = SlideViewer({slide!r}, height=600)
viewer"""
BUSY = {
    "waiting (time.sleep)": "import time; time.sleep({seconds})",
    "in a Python loop": "import time; end = time.time() + {seconds}\nwhile time.time() < end: sum(range(1000))",
    "multiplying in torch": "import time, torch; end = time.time() + {seconds}; a = torch.rand(1500, 1500)\nwhile time.time() < end: a @ a",
}


def pan(page, times, zoom_every=8):
    "Drag the slide about, now and then from one zoom to the next; milliseconds each tile took, and tiles a second."
    rng = random.Random(0)
    box = page.locator(".dsnb-stage").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate("() => { window.arrived.length = 0; }")
    start = time.perf_counter()
    for k in range(times):
        if k % zoom_every == 0:
            page.get_by_role("button", name="zoom in" if rng.random() < 0.5 else "zoom out").first.click()
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + rng.choice([-380, 380]), middle[1] + rng.choice([-250, 250]), steps=6)
        page.mouse.up()
        page.wait_for_timeout(350)
    arrived = page.evaluate("() => window.arrived")
    return arrived, len(arrived) / (time.perf_counter() - start)


def line(name, arrived, rate):
    cuts = statistics.quantiles(arrived, n=20)
    return f"| {name} | {len(arrived)} | {statistics.median(arrived):.0f} | {cuts[-1]:.0f} | {max(arrived):.0f} | {rate:.0f} |"


def main(slide=None):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        slide = Path(slide).resolve() if slide else lab.write_huge(folder / "huge.tif")
        lab.write_notebook(folder / "n.ipynb", ["import deepslide_nb.viewer", CELL.format(slide=str(slide))])
        with lab.jupyterlab(folder) as address, lab.chromium(None) as page:
            first = []
            for _ in range(5):
                lab.open_notebook(page, address, "n.ipynb", run=False)
                lab.in_kernel(page, "import deepslide_nb.viewer")
                first.append(page.evaluate(lab.FIRST_PICTURE))
                lab.in_kernel(page, "viewer.close()")
            print(f"{slide.name}: first picture {statistics.median(first):.0f} ms (median of {len(first)}: "
                  f"{min(first):.0f} ... {max(first):.0f}), from running the cell to the first tile")  # fmt: skip
            lab.open_notebook(page, address, "n.ipynb")
            page.locator(".dsnb-stage").wait_for(timeout=60000)
            page.wait_for_timeout(3000)
            page.evaluate(lab.LISTEN)
            print("| kernel | tiles | median ms | 95 % ms | most ms | tiles a second |\n|---|---|---|---|---|---|")
            for k, (name, code) in enumerate({"idle": "", **BUSY}.items()):  # each in a quarter not seen before
                lab.in_kernel(page, f"w, h = viewer.slide.dimensions; viewer.go_to(w * {1 + 2 * (k % 2)} / 4, h * {1 + 2 * (k // 2)} / 4, 2)")
                page.wait_for_timeout(4000)
                page.evaluate(f"() => {{ window.busy = ({lab.RUN})({code.format(seconds=35)!r}); }}")
                page.wait_for_timeout(500)
                print(line(name, *pan(page, 40)))
                page.evaluate("() => window.busy")


if __name__ == "__main__":
    main(*sys.argv[1:])
