"Fixtures for all tests: real slides where there are some, and a tiny synthetic set that a run takes seconds for."
import os
from pathlib import Path

import lab
import matplotlib
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
matplotlib.use("Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def chromium():
    "The path of a Chromium, or a skip where the machine has none (a failure on the CI machine)."
    return lab.need_browser()


@pytest.fixture(scope="session")
def real():
    "The folder of real slides and tiles, which is not part of the project."
    folder = Path(os.environ.get("DEEPSLIDE_REAL", ROOT.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing (set DEEPSLIDE_REAL to its place)")
    return folder


INK = {"calm": (225, 150, 195), "busy": (120, 70, 160)}  # eosin and hematoxylin


def tiny_slide(rng, label, w=160, h=128):
    "uint8 (h, w, 3): white glass on the right, tissue on the left in the class's colour, with noise."
    pixels = np.full((h, w, 3), 243.0)
    pixels[:, : w - 32] = INK[label]
    dots = rng.random((h // 4, (w - 32) // 4)) < (0.1 if label == "calm" else 0.5)
    pixels[:, : w - 32] -= 50 * np.kron(dots, np.ones((4, 4)))[..., None]
    return np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)


def write_slide(path, pixels):
    "A tiled TIFF that OpenSlide opens, or a PNG."
    if path.suffix == ".png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", compression="jpeg")


def make_tiny(folder, patients=4, labels=("calm", "busy")):
    "slides.csv with two slides of each of `patients` patients of each class, TIFF and PNG in turn, at 1 mpp."
    rng, rows = np.random.default_rng(0), []
    (folder / "slides").mkdir(parents=True)
    for k, kind in enumerate(INK):
        for i in range(2 * patients):
            path = folder / "slides" / f"{k}{i}.{'tif' if i % 2 else 'png'}"
            write_slide(path, tiny_slide(rng, kind))
            rows.append((f"{labels[k]} {i}", f"slides/{path.name}", labels[k], f"p{k}{i // 2}", 1.0))
    table = pd.DataFrame(rows, columns=["slide_id", "path", "label", "patient_id", "mpp"])
    table.to_csv(folder / "slides.csv", index=False)
    return folder / "slides.csv"


TINY = {"tile_px": 32, "mpp": 1.0, "epochs": 2, "batch": 16, "lr": 0.002, "tiles_per_slide": 12, "workers": 1, "test_share": 0.25,
        "valid_share": 0.25, "patience": 0, "weights": "random"}  # fmt: skip


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    "slides.csv of 16 tiny synthetic slides of two classes."
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_settings():
    "Settings with which the tiny set is run in seconds."
    from deepslide_nb.settings import load_settings

    return load_settings(**TINY)


@pytest.fixture(scope="session")
def tiny_run(tiny, tiny_settings, tmp_path_factory):
    "The folder of a finished run on the tiny set; do not change it."
    from deepslide_nb.pipeline import run

    out = tmp_path_factory.mktemp("runs") / "tiny"
    run(tiny, out, tiny_settings)
    return out


EVERY = ("threshold", "average", "majority", "threshold_search", "deepslide", "logistic", "forest", "svm", "attention", "grid_attention")


@pytest.fixture(scope="session")
def read_by_three(tiny, tmp_path_factory):
    "The tiny slides with paths from the root and the words of two pathologists: one gives minor labels, one errs on one in four."
    from deepslide_nb.slides import write_table

    table = pd.read_csv(tiny)
    table["path"] = [str(tiny.parent / p) for p in table.path]
    table["pathologist_Ann"] = table.label
    table["pathologist_Bo"] = np.where(np.arange(len(table)) % 4 == 1, "calm", table.label)
    table["minor_Ann"] = np.where(table.label == "busy", '["calm"]', None)
    path = tmp_path_factory.mktemp("read") / "slides.csv"
    write_table(table, path)
    return path


@pytest.fixture(scope="session")
def every_run(read_by_three, tiny_settings, tmp_path_factory):
    "The folder of a run with every method; do not change it."
    from deepslide_nb.pipeline import run

    out = tmp_path_factory.mktemp("runs") / "every"
    run(read_by_three, out, tiny_settings.model_copy(update={"aggregation": EVERY, "background": "calm"}))
    return out
