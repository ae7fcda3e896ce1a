"""Overlays: rasters against a slow loop, colours, and 20,000 tiles in time."""

import time

import matplotlib
import numpy as np
import pandas as pd
import pytest
import shapely
from matplotlib.colors import to_rgb
from PIL import Image

from deepslide_nb.annotations import class_colors
from deepslide_nb.overlays import class_layer, plot_overlay, plot_regions, plot_slide_row, tile_raster
from deepslide_nb.settings import InputError
from deepslide_nb.slides import open_slide

matplotlib.use("agg")
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def slide(tmp_path):
    Image.new("RGB", (1200, 600), (235, 200, 220)).save(tmp_path / "pink.png")
    yield open_slide(tmp_path / "pink.png", 0.5)
    matplotlib.pyplot.close("all")


def tiles_of(n=50, size=100, seed=0, dimensions=(1200, 600)):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet([1, 1, 1], n)
    return pd.DataFrame(
        {
            "slide_id": "s",
            "x": rng.integers(-20, dimensions[0] - 30, n),
            "y": rng.integers(-20, dimensions[1] - 30, n),
            "size": size,
        }
        | {f"prob_{c}": probs[:, i] for i, c in enumerate(["normal", "a/b_c", "ü"])}
    )


def test_raster_is_the_mean_over_overlapping_tiles():
    tiles = tiles_of()
    values = tiles[["prob_normal", "prob_ü"]].to_numpy()
    raster = tile_raster(tiles, values, (1200, 600), (120, 240))
    total, count = np.zeros((120, 240, 2)), np.zeros((120, 240, 1))
    for tile, value in zip(tiles.itertuples(), values):
        x0, y0, x1, y1 = (max(0, round(v / 5)) for v in (tile.x, tile.y, tile.x + 100, tile.y + 100))
        total[y0:y1, x0:x1] += value
        count[y0:y1, x0:x1] += 1
    assert np.isnan(raster[count[..., 0] == 0]).all()
    seen = count[..., 0] > 0
    assert np.allclose(raster[seen], total[seen] / count[seen])


def test_tiny_tiles_stay_visible():
    tiles = pd.DataFrame({"x": [0, 99_900], "y": [0, 99_900], "size": 100})
    raster = tile_raster(tiles, np.ones((2, 1)), (100_000, 100_000), (50, 50))
    assert np.isfinite(raster).sum() == 2 and raster[0, 0] == raster[-1, -1] == 1


def test_colour_and_opacity():
    shares = np.array([[[1.0, 0, 0], [0.4, 0.3, 0.3], [1 / 3] * 3, [np.nan] * 3]])
    layer = class_layer(shares, list(class_colors("abc").values()), alpha=0.5)
    assert np.allclose(layer[0, 0, :3], to_rgb(class_colors("abc")["a"]))
    opacity = layer[0, :, 3]
    assert (
        opacity[0] == 0.5 and opacity[0] > opacity[1] > opacity[2] == pytest.approx(0.1) and opacity[3] == 0
    )


@pytest.mark.parametrize("column", [None, "label", "prob_ü", "flag"])
def test_what_can_be_shown(slide, tmp_path, column):
    tiles = tiles_of().assign(label=["normal", None] * 25, flag=[True, False] * 25)
    tiles.loc[0, "prob_ü"] = np.nan
    ax = plot_overlay(slide, tiles, column, classes=["ü", "normal"], title="made up")
    ax.figure.savefig(tmp_path / "x.png")
    texts = [t.get_text() for t in ax.texts]
    assert texts == ["100 µm"] and ax.get_title() == "made up" and len(ax.images) == 2
    if column == "label":
        legend = ax.get_legend()
        assert [t.get_text() for t in legend.get_texts()] == ["normal"]
        assert legend.get_patches()[0].get_facecolor()[:3] == pytest.approx(
            to_rgb(class_colors(["ü", "normal"])["normal"])
        )


def test_no_tiles_and_no_mpp(slide, tmp_path):
    slide.mpp = None
    for tiles in (tiles_of()[:0], tiles_of().assign(prob_ü=np.nan)):
        for column in (None, "prob_normal"):
            ax = plot_overlay(slide, tiles, column)
            ax.figure.savefig(tmp_path / "x.png")
            assert not ax.texts and ax.get_legend() is None


def test_a_missing_column_is_named(slide):
    with pytest.raises(InputError, match="'label'"):
        plot_overlay(slide, tiles_of(), "label")


def test_rows_and_regions(slide, tmp_path):
    holed = shapely.box(100, 100, 500, 500).difference(shapely.box(200, 200, 300, 300))
    regions = pd.DataFrame(
        {"name": ["ü", "other"], "geometry": [holed, shapely.MultiPolygon([shapely.box(700, 0, 900, 90)])]}
    )
    ax = plot_regions(slide, regions)
    assert len([line for line in ax.lines if len(line.get_xdata()) == 5]) == 3
    fig = plot_slide_row(slide, tiles_of(), regions, title="row")
    fig.savefig(tmp_path / "x.png")
    assert [a.get_title() for a in fig.axes] == ["slide", "prediction", "drawn regions"]
    assert len(plot_slide_row(slide, tiles_of(), regions[:0]).axes) == 3
    assert len(plot_slide_row(slide, tiles_of()).axes) == 2


def test_20000_tiles_in_two_seconds(slide):
    tiles = tiles_of(20_000, 30)
    start = time.perf_counter()
    ax = plot_overlay(slide, tiles)
    ax.figure.canvas.draw()
    assert time.perf_counter() - start < 2


def test_bags(real):
    bag = open_slide(sorted((real / "breakhis_bags" / "benign").iterdir())[0])
    tiles = pd.DataFrame(bag.boxes, columns=["x", "y", "size"]).assign(prob_benign=0.8, prob_malignant=0.2)
    assert len(plot_overlay(bag, tiles).images) == 2
    matplotlib.pyplot.close("all")
