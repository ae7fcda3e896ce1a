"""The IDC slide of shared/real: boxes as labels, a classifier trained on one part of the slide, judged on another.

    python tests/bench/bench_idc.py OUT [--epochs 20] [--overlap 0] [--real ../shared/real] [key=value ...]

The slide is cut into four upright bands with as many labelled tiles each. Every band is judged once, by a network
that learned from two others and chose its epoch on the third. All of it is one patient: the figure says how well a
classifier fills in a slide that was half annotated, not how it does on another woman's."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from deepslide_nb.annotations import label_tiles
from deepslide_nb.evaluation import scores
from deepslide_nb.prediction import predict_slides
from deepslide_nb.settings import load_settings
from deepslide_nb.slides import open_slide
from deepslide_nb.tiles import slide_tiles
from deepslide_nb.training import train

BANDS = 4


def labelled_tiles(folder: Path, settings) -> pd.DataFrame:
    "The tiles that lie in boxes of one class."
    path, boxes = folder / "slide_14306.tif", folder / "slide_14306_patches.csv"
    with open_slide(path) as slide:
        tiles = slide_tiles(slide, "14306", settings)
    whole = pd.DataFrame({"slide_id": ["14306"], "path": [str(path)], "label": ["1"], "annotations": [str(boxes)]})
    tiles = label_tiles(tiles, whole, region_min=0.9)
    return tiles[tiles.label_source == "annotation"].sort_values(["x", "y"], ignore_index=True)


def in_bands(tiles: pd.DataFrame, edges: np.ndarray) -> pd.DataFrame:
    "The tiles named by the band that they lie in; those that reach over an edge are dropped."
    first, last = (np.searchsorted(edges, x, side="right") for x in (tiles.x, tiles.x + tiles["size"] - 1))
    return tiles.assign(slide_id="band " + pd.Series(first, tiles.index).astype(str))[first == last]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--overlap", type=float, default=0.0, help="of the tiles to learn from")
    parser.add_argument("--real", type=Path, default=Path(__file__).parents[3] / "shared" / "real")
    parser.add_argument("set", nargs="*")
    args = parser.parse_intermixed_args()
    px = 64  # one tile is one box: 50 pixels at 4 microns
    changes = {"tile_px": px, "mpp": 50 * 4.0 / px, "border": "drop", "tissue": "none", "epochs": args.epochs}
    settings = load_settings(**changes | dict(pair.split("=", 1) for pair in args.set))
    folder = args.real.resolve() / "idc_slide"
    tiles = labelled_tiles(folder, settings)
    edges = np.quantile(tiles.x, np.arange(1, BANDS) / BANDS, method="nearest")
    tiles = in_bands(tiles, edges)
    dense = in_bands(labelled_tiles(folder, settings.model_copy(update={"overlap": args.overlap})), edges)
    print(pd.crosstab(tiles.slide_id, tiles.label).assign(to_learn=dense.slide_id.value_counts()))
    path = str(folder / "slide_14306.tif")
    bands = pd.DataFrame({"slide_id": sorted(tiles.slide_id.unique()), "path": path, "mpp": np.nan})
    parts = []
    for fold in range(BANDS):
        split = np.roll(["test", "valid"] + ["train"] * (BANDS - 2), fold)
        slides = bands.assign(split=split)
        learn = slides.slide_id[slides.split == "train"]
        both = pd.concat([dense[dense.slide_id.isin(learn)], tiles[~tiles.slide_id.isin(learn)]], ignore_index=True)
        model, meta = train(both, slides, sorted(tiles.label.unique()), settings, args.out / f"fold{fold}")
        found, _ = predict_slides(model, meta, tiles, slides[slides.split == "test"])
        parts.append(found)
    predictions = pd.concat(parts, ignore_index=True)
    args.out.mkdir(parents=True, exist_ok=True)
    predictions.to_csv(args.out / "predictions.csv", index=False)
    s = scores(predictions)
    print(f"{s['n']} tiles: accuracy {s['accuracy']:.3f}, balanced {s['balanced_accuracy']:.3f}, "
          f"AUC {s['macro_auc']:.3f}")  # fmt: skip
    print({b: round(scores(p)["macro_auc"] or np.nan, 3) for b, p in predictions.groupby("slide_id")})
