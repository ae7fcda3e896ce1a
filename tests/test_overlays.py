"""Overlays: rasters against a slow loop, colours, files that others read, galleries."""

import json
import tracemalloc

import matplotlib
import numpy as np
import openslide
import pandas as pd
import pytest
import shapely
import tifffile
from matplotlib.colors import to_rgb
from PIL import Image

from deepslide_nb.annotations import class_colors, read_regions
from deepslide_nb.overlays import (
    class_layer,
    pick_tiles,
    plot_gallery,
    plot_overlay,
    plot_regions,
    plot_slide_row,
    tile_raster,
    write_heatmap,
    write_overlay,
    write_tiles,
)
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


def test_20000_tiles(slide):
    ax = plot_overlay(slide, tiles_of(20_000, 30))
    ax.figure.canvas.draw()
    assert np.isfinite(ax.images[1].get_array()).all()


def test_dots_lie_in_the_middle_tenth(slide):
    tiles = pd.DataFrame({"x": [100, 700], "y": [200, 40], "size": 300, "label": ["b", "a"], "n": [1.0, 2.0]})
    for column in ("label", "n"):
        ax = plot_overlay(slide, tiles, column, style="dots", max_px=1200)
        opacity = np.zeros((600, 1200))
        for x, y in ((100, 200), (700, 40)):
            opacity[y + 135 : y + 165, x + 135 : x + 165] = 1
        assert np.array_equal(ax.images[-1].get_array()[..., 3], opacity)
    unsure = tiles.assign(prob_a=[0.6, 0.3], prob_b=[0.4, 0.7])
    colors = plot_overlay(slide, unsure, style="dots", max_px=1200).images[-1].get_array()
    assert np.allclose(colors[350, 250], (*to_rgb(class_colors("ab")["a"]), 1))
    assert np.allclose(colors[190, 850], (*to_rgb(class_colors("ab")["b"]), 1))
    with pytest.raises(InputError, match="tiles, dots"):
        plot_overlay(slide, tiles, "label", style="circles")


@pytest.mark.parametrize("column", [None, "label", "prob_ü"])
def test_outlines_on_top(slide, tmp_path, column):
    regions = pd.DataFrame({"name": ["_odd $x$", "ü"], "geometry": [shapely.box(0, 0, 90, 90)] * 2})
    tiles = tiles_of().assign(label="_odd $x$")
    for mask in (np.zeros((30, 60), bool), np.ones((30, 60), bool)):
        ax = plot_overlay(slide, tiles, column, tissue=mask, regions=regions, title="a $b$ c")
        ax.figure.savefig(tmp_path / "x.png")
        names = [t.get_text() for t in ax.get_legend().get_texts()]
        assert names[-3:] == ["tissue", "_odd $x$, drawn", "ü, drawn"]
        assert len(names) == {None: 6, "label": 4, "prob_ü": 3}[column]
        assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 1023.5), (511.5, -0.5))
    contour = next(c for c in ax.collections if hasattr(c, "levels")).get_paths()[0].vertices
    assert np.allclose(contour.min(0), -0.5, atol=9) and np.allclose(contour.max(0), (1023.5, 511.5), atol=9)


def test_the_colour_scale(slide):
    tiles = tiles_of(2).assign(
        x=[0, 600], y=0, n=[1.0, 3.0], odd=[np.inf, 3.0], part=pd.array([1, None], "Int64")
    )
    picture = plot_overlay(slide, tiles, "n", limits=(1, 5), cmap="gray").images[1].get_array()
    assert np.allclose(picture[5, 5], (0, 0, 0, 0.6)) and picture[5, 520, 0] == pytest.approx(0.5, abs=0.01)
    for column, where in (("odd", 520), ("part", 5)):
        picture = plot_overlay(slide, tiles, column).images[1].get_array()
        assert picture[5, where, 3] == 0.6 and picture[5, 525 - where, 3] == 0


@pytest.mark.parametrize("write", [write_tiles, lambda t, p: write_heatmap(FakeSlide((900, 900)), t, p)])
def test_tiles_of_two_slides_are_refused(slide, tmp_path, write):
    tiles = tiles_of().assign(slide_id=["a", "b"] * 25)
    with pytest.raises(InputError, match="2 slides"):
        plot_overlay(slide, tiles)
    with pytest.raises(InputError, match="2 slides"):
        write(tiles, tmp_path / "x")
    assert not list(tmp_path.glob("x"))


def test_overlay_png(slide, tmp_path):
    write_overlay(slide, tiles_of(), tmp_path / "new" / "o.png", max_px=700, title="ü", style="dots")
    with Image.open(tmp_path / "new" / "o.png") as picture:
        assert 650 < picture.width < 850
    Image.new("RGB", (400, 560), "white").save(tmp_path / "tall.png")
    write_overlay(open_slide(tmp_path / "tall.png"), tiles_of(), tmp_path / "t.png", max_px=700)
    with Image.open(tmp_path / "t.png") as picture:
        assert 650 < picture.height < 850
    assert not matplotlib.pyplot.get_fignums()
    with pytest.raises(InputError):
        write_overlay(slide, tiles_of(), tmp_path / "p.png", "none")
    assert not (tmp_path / "p.png").exists()


def test_tiles_come_back_from_geojson(tmp_path):
    tiles = tiles_of().assign(label=["ü/_ 'x'", "normal"] * 25)
    tiles.loc[3, "label"] = None
    write_tiles(tiles, tmp_path / "t.geojson", "label", classes=["normal"])
    back, kept = read_regions(tmp_path / "t.geojson"), tiles.drop(index=3)
    assert list(back["name"]) == list(kept["label"])
    boxes = shapely.box(kept["x"], kept["y"], kept["x"] + 100, kept["y"] + 100)
    assert shapely.equals(back["geometry"].to_numpy(), boxes).all()
    first = json.loads((tmp_path / "t.geojson").read_text("utf-8"))["features"][0]
    assert first["properties"] == {
        "objectType": "tile",
        "classification": {"name": "ü/_ 'x'", "color": [230, 159, 0]},
    }


def test_numbers_come_back_from_geojson(tmp_path):
    tiles = tiles_of()
    tiles.loc[7, "prob_ü"] = np.nan
    write_tiles(tiles, tmp_path / "t.geojson", "prob_ü")
    features = json.loads((tmp_path / "t.geojson").read_text("utf-8"))["features"]
    found = [f["properties"]["measurements"]["prob_ü"] for f in features]
    assert found == tiles["prob_ü"].drop(index=7).tolist()
    assert set(read_regions(tmp_path / "t.geojson")["name"]) == {"prob_ü"}
    write_tiles(tiles, tmp_path / "all.geojson")
    features = json.loads((tmp_path / "all.geojson").read_text("utf-8"))["features"]
    assert len(features) == 49 and set(features[0]["properties"]["measurements"]) == set(tiles.columns[4:])
    rings = [f["geometry"]["coordinates"] for f in features]
    assert all(len(r) == 1 and len(r[0]) == 5 and r[0][0] == r[0][4] for r in rings)
    assert shapely.is_ccw([shapely.LinearRing(r[0]) for r in rings]).all()  # RFC 7946, y read upwards


def test_no_tiles_is_a_file_too(tmp_path):
    write_tiles(tiles_of()[:0], tmp_path / "t.geojson")
    assert len(read_regions(tmp_path / "t.geojson")) == 0
    write_heatmap(FakeSlide((900, 900)), tiles_of()[:0], tmp_path / "t.tif", "prob_ü")
    assert (tifffile.imread(tmp_path / "t.tif") == 255).all()


class FakeSlide:
    def __init__(self, dimensions, mpp=0.5):
        self.dimensions, self.mpp = dimensions, mpp


@pytest.mark.parametrize("column", [None, "n"])
def test_heatmap_is_the_raster_and_a_slide(tmp_path, column):
    size = 4800, 3200  # 600 x 400 pixels of the map: blocks are cut at the right and below
    tiles = tiles_of(300, 300, dimensions=size).assign(n=np.arange(300.0))
    write_heatmap(FakeSlide(size, 0.25), tiles, tmp_path / "h.tif", column)
    names = ["normal", "a/b_c", "ü"]
    values = tiles[[column] if column else [f"prob_{c}" for c in names]].to_numpy()
    raster = tile_raster(tiles, values, size, (400, 600))
    if column:
        layer = matplotlib.colormaps["viridis"](raster[..., 0] / 299)
        layer[..., 3] = np.isfinite(raster[..., 0])
    else:
        layer = class_layer(raster, list(class_colors(names).values()), 1.0)
    wanted = 255 * (layer[..., :3] * layer[..., 3:] + 1 - layer[..., 3:])
    with openslide.OpenSlide(tmp_path / "h.tif") as file:
        assert file.level_dimensions == ((600, 400), (300, 200), (150, 100))[: file.level_count]
        assert file.level_count == 3
        assert float(file.properties["openslide.mpp-x"]) == pytest.approx(2)
        about = json.loads(file.properties["tiff.ImageDescription"])
        found = np.asarray(file.read_region((0, 0), 0, (600, 400)).convert("RGB"))
    assert np.abs(found - wanted).max() <= 1
    assert about["downsample"] == 8 and ("limits" in about) == bool(column)
    assert open_slide(tmp_path / "h.tif").mpp == pytest.approx(2)


def test_heatmap_of_a_slide_without_mpp(tmp_path):
    write_heatmap(FakeSlide((1200, 600), None), tiles_of(), tmp_path / "h.tif", downsample=1)
    assert open_slide(tmp_path / "h.tif").mpp is None
    with tifffile.TiffFile(tmp_path / "h.tif") as tif:
        assert not tif.is_bigtiff and [p.shape for p in tif.pages] == [
            (600, 1200, 3),
            (300, 600, 3),
            (150, 300, 3),
            (75, 150, 3),
        ]


def test_heatmap_takes_little_memory(tmp_path):
    tiles = tiles_of(3000, 448, dimensions=(100_000, 100_000))
    tracemalloc.start()
    write_heatmap(FakeSlide((100_000, 100_000)), tiles, tmp_path / "h.tif", downsample=32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # the map alone has 29 MB, its shares as numbers 234 MB


@pytest.mark.parametrize("downsample, big", [(8, False), (1, True)])
def test_bigtiff_only_where_needed(tmp_path, monkeypatch, downsample, big):
    class Stop(Exception):
        pass

    def writer(path, bigtiff):
        assert bigtiff is big
        raise Stop

    monkeypatch.setattr("deepslide_nb.overlays.TiffWriter", writer)
    with pytest.raises(Stop):
        write_heatmap(FakeSlide((100_000, 100_000)), tiles_of(), tmp_path / "h.tif", downsample=downsample)
    assert not list(tmp_path.iterdir())


def test_picks():
    tiles = pd.DataFrame(
        {
            "slide_id": list("aaabbb"),
            "label": ["n", "t", None, "n", "other", "t"],
            "prob_n": [0.9, 0.8, 0.5, 0.3, 0.6, np.nan],
            "prob_t": [0.1, 0.2, 0.5, 0.7, 0.4, 0.5],
            "attention": [0.2, 0.2, 0.6, 0.1, 0.1, 0.8],
        },
        index=list("uvwxyz"),
    )
    assert list(pick_tiles(tiles, "sure").index) == list("uvxyw")
    assert list(pick_tiles(tiles, "unsure", 2).index) == list("wy")
    assert list(pick_tiles(tiles, "sure", per_slide=1).index) == list("ux")
    wrong = pick_tiles(tiles, "wrong")
    assert list(wrong.index) == list("yvx") and wrong["prob_label"].tolist() == [0, 0.2, 0.3]
    assert pick_tiles(tiles, "unsure", 1)["prob_label"].isna().all()
    high = pick_tiles(tiles[["slide_id", "attention"]], "attention", 2)
    assert list(high.index) == list("zw") and high["times"].tolist() == pytest.approx([2.4, 1.8])
    for how, table, says in (
        ("best", tiles, "sure, unsure"),
        ("wrong", tiles.drop(columns="label"), "'label'"),
        ("attention", tiles.drop(columns="attention"), "'attention'"),
    ):
        with pytest.raises(InputError, match=says):
            pick_tiles(table, how)


def test_gallery(slide, tmp_path):
    slides = pd.DataFrame({"slide_id": ["s"], "path": [str(tmp_path / "pink.png")], "mpp": [np.nan]})
    tiles = tiles_of(6).assign(label=["normal", None, "no $such$ class with a very long name"] * 2)
    fig = plot_gallery(pick_tiles(tiles, "unsure"), slides, columns=4, title="six $x$")
    fig.savefig(tmp_path / "x.png")
    assert len(fig.axes) == 16 and sum(bool(ax.images) for ax in fig.axes) == 12
    assert all("label nan" not in ax.get_title() for ax in fig.axes)
    tile = pick_tiles(tiles, "unsure").iloc[0]
    x, y = (float(v[0]) for v in fig.axes[1].lines[0].get_data())
    assert (x, y) == pytest.approx([(tile[k] + 50) * 160 / 1200 - 0.5 for k in "xy"])
    plain = plot_gallery(tiles[["slide_id", "x", "y", "size"]], slides)
    assert plain.axes[0].get_title() == ""
    with pytest.raises(InputError, match="does not have"):
        plot_gallery(tiles.assign(slide_id="t"), slides)


def test_bags(real):
    bag = open_slide(sorted((real / "breakhis_bags" / "benign").iterdir())[0])
    tiles = pd.DataFrame(bag.boxes, columns=["x", "y", "size"]).assign(prob_benign=0.8, prob_malignant=0.2)
    assert len(plot_overlay(bag, tiles).images) == 2
    matplotlib.pyplot.close("all")
