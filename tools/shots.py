"""Screenshots of the widgets, on synthetic sample slides in a real JupyterLab, for README.md and the lessons.

    python tools/shots.py [NAME ...]      writes nbs/images/NAME.webp; all of them without NAME; needs Chromium
"""
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import lab

START = """import pandas as pd
from deepslide_nb.aggregation import aggregate
from deepslide_nb.annotations import read_regions
from deepslide_nb.prediction import sample_predictions
from deepslide_nb.training import sample_classifier
from deepslide_nb.widgets import *
slides, predictions = sample_predictions()
test = slides[slides["split"] == "test"]
theirs = predictions[predictions["slide_id"].isin(test["slide_id"])]
row = test[test["annotations"].notna()].iloc[0]
own = predictions[predictions["slide_id"] == row["slide_id"]]
"""
WIDGETS = {
    "viewer": """
shown = SlideViewer(row["path"], own, read_regions(row["annotations"]), height=520)
shown.show_values(own, opacity=0.35)
shown.pick(*(own.iloc[len(own) // 2][["x", "y"]] + 10))
""",
    "tile_browser": """
shown = TileBrowser(predictions, slides)
shown.filter(split="test")
shown.sort("prob_solid", descending=True)
""",
    "prediction_browser": """
by_slide = aggregate(theirs, test, ["average", "majority"])
shown = PredictionBrowser(theirs, by_slide, test, sample_classifier(), height=420)
shown.picked_slide = row["slide_id"]
shown.picked_tile = own.sort_values(f"prob_{row['label']}").iloc[-1]
shown.pane.set(gallery=f"most surely {row['label']}")
shown.explain("Grad-CAM")
shown._worker.join()
""",
    "aggregation_explorer": """
shown = AggregationExplorer(predictions, slides, background="normal")
shown.method = "threshold"
""",
    "tissue_tuner": """
shown = TissueTuner(slides["path"][slides["artefacts"].str.contains("pen", na=False)].iloc[0])
""",
}


def main(names):
    with tempfile.TemporaryDirectory() as folder, lab.jupyterlab(Path(folder)) as address, lab.chromium(None) as page:
        page.set_viewport_size({"width": 1280, "height": 2400})
        for name in names:
            lab.write_notebook(Path(folder) / f"{name}.ipynb", [START + WIDGETS[name], "shown"])
            lab.open_notebook(page, address, f"{name}.ipynb")
            page.evaluate("() => { window.jupyterapp.shell.collapseLeft(); }")
            page.locator(".dsnb").first.wait_for(timeout=240000)
            page.wait_for_timeout(6000)
            widget = page.locator(".jp-OutputArea-output:has(.dsnb)").last
            picture = Image.open(io.BytesIO(widget.screenshot())).convert("RGB")
            out = ROOT / "nbs" / "images" / f"{name}.webp"
            picture.save(out, quality=85, method=6)
            print(f"{out.relative_to(ROOT)}: {picture.size[0]} x {picture.size[1]}, {out.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main(sys.argv[1:] or WIDGETS)
