"""How fast the explorers answer in the browser: from a key on a slider to the changed page. Run: python tests/bench/bench_explorers.py

Each slider gets 10 steps of one key, the next when the answer to the last is there."""
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab
from test_explorers import cohort, votes_of

CELL = """from deepslide_nb.explorers import AggregationExplorer, TissueTuner
from deepslide_nb.samples import sample_slides
from deepslide_nb.slides import read_slides
import pandas as pd
tuner = TissueTuner(read_slides(sample_slides()).path[31])
explorer = AggregationExplorer(pd.read_parquet("tiles.parquet"), pd.read_csv("slides.csv"), "normal <b>")
explorer.method = "threshold"
tuner"""
STEP = """([group, slider]) => new Promise((resolve) => {
  const root = [...document.querySelectorAll(".dsnb-panel")].find((one) => one.getAttribute("aria-label").startsWith(group));
  const label = [...root.querySelectorAll("label")].find((one) => one.textContent === slider);
  const input = document.getElementById(label.htmlFor), start = performance.now();
  const answer = new MutationObserver(() => requestAnimationFrame(() => { answer.disconnect(); resolve(performance.now() - start); }));
  answer.observe(root.querySelector(".dsnb-sections"), { childList: true, subtree: true });
  setTimeout(() => resolve(null), 2000); // nothing to change: no slide flips
  input.stepUp();
  input.oninput();
})"""

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    slides = cohort(300).assign(split="valid")
    slides.to_csv(folder / "slides.csv", index=False)
    votes_of(slides, 60).to_parquet(folder / "tiles.parquet")
    lab.write_notebook(folder / "n.ipynb", [CELL, "explorer"])
    with lab.jupyterlab(folder) as address, lab.chromium(None) as page:
        lab.open_notebook(page, address, "n.ipynb")
        page.get_by_role("group", name="From tiles").wait_for(timeout=60000)
        page.wait_for_timeout(2000)
        for group, slider in (("Tissue", "Dark counts below"), ("Tissue", "Least sharpness"), ("Tissue", "Least tissue in a tile"),
                              ("From tiles", "Least tiles"), ("From tiles", "Confidence above")):  # fmt: skip
            times = [page.evaluate(STEP, [group, slider]) for _ in range(10)]
            times = [t for t in times if t is not None]
            print(f"{group}: {slider}: median {np.median(times):.0f} ms, 95th percentile {np.percentile(times, 95):.0f} ms, n = {len(times)}")
