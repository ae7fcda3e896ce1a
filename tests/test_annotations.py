"""Annotations: GeoJSON as people send it, and the rules by which polygons label tiles."""

import json

import numpy as np
import pandas as pd
import pytest
import shapely

from deepslide_nb.annotations import class_colors, label_tiles, read_geojson, region_share
from deepslide_nb.settings import InputError


def feature(geometry, name="tumour"):
    properties = {"objectType": "annotation", "classification": {"name": name}}
    return {"type": "Feature", "geometry": shapely.geometry.mapping(geometry), "properties": properties}


def save(folder, content, name="a.geojson"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


SQUARE = shapely.box(0, 0, 100, 100)


@pytest.mark.parametrize(
    "wrap",
    [lambda f: {"type": "FeatureCollection", "features": [f]}, lambda f: [f], lambda f: f],
    ids=["collection", "bare list", "one feature"],
)
def test_forms_of_a_file(tmp_path, wrap):
    regions = read_geojson(save(tmp_path, wrap(feature(SQUARE, "Tumor: in situ/é_1"))))
    assert regions["name"].tolist() == ["Tumor: in situ/é_1"] and regions["geometry"][0].equals(SQUARE)


def test_qupath_file(real):
    regions = read_geojson(real / "annotations" / "qupath05.geojson")
    assert regions["name"].tolist() == ["UT", "I", "I"]
    assert all(g.is_valid and g.area > 1000 for g in regions["geometry"])


def test_byte_order_mark_and_empty_collection(tmp_path):
    assert read_geojson(save(tmp_path, "\ufeff" + json.dumps([feature(SQUARE)]))).shape == (1, 2)
    assert read_geojson(save(tmp_path, {"type": "FeatureCollection", "features": []})).empty


@pytest.mark.parametrize(
    "properties,name",
    [
        ({"name": "A"}, "A"),
        ({"classification": {"names": ["A", "B"]}}, "A: B"),
        ({"classification": None, "name": "A"}, "A"),
        ({"classification": "A"}, "A"),
        ({"classification": {"name": "A"}, "name": "B"}, "A"),
    ],
)
def test_where_the_name_stands(tmp_path, properties, name):
    assert read_geojson(save(tmp_path, [feature(SQUARE) | {"properties": properties}]))["name"][0] == name


def test_holes_parts_and_collections(tmp_path):
    ring = SQUARE.difference(shapely.box(40, 40, 60, 60))
    two = shapely.MultiPolygon([ring, shapely.box(200, 0, 300, 100)])
    mixed = shapely.GeometryCollection([SQUARE, shapely.Point(5, 5)])
    regions = read_geojson(save(tmp_path, [feature(g) for g in (ring, two, mixed)]))
    assert regions["geometry"].map(shapely.area).tolist() == [9600, 19600, 10000]


def test_crossing_lines_are_repaired(tmp_path):
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]]}
    content = feature(SQUARE) | {"geometry": bow_tie}
    region = read_geojson(save(tmp_path, [content]))["geometry"][0]
    assert region.is_valid and region.area == 5000


def test_points_and_lines_are_left_out_aloud(tmp_path):
    path = save(
        tmp_path,
        [feature(shapely.Point(1, 1)), feature(SQUARE), feature(shapely.LineString([(0, 0), (1, 1)]))],
    )
    with pytest.warns(UserWarning, match="a.geojson: 2 points or lines"):
        assert len(read_geojson(path)) == 1


@pytest.mark.parametrize(
    "content,says",
    [
        ('[{"type": "Feature",\n "geometry" 3}]', "line 2, column 13"),
        ("", "line 1"),
        ("{}", "not GeoJSON features"),
        ("[1, 2]", "not GeoJSON features"),
        ('{"type": "FeatureCollection"}', "not GeoJSON features"),
        ("null", "not GeoJSON features"),
        ("[" * 100_000, "not a GeoJSON text file"),
        ([feature(SQUARE), feature(SQUARE, " ")], "feature 2 has no class"),
        ([feature(SQUARE) | {"properties": None}], "feature 1 has no class"),
        ([feature(SQUARE) | {"properties": ["a"]}], "feature 1 has no class"),
        (
            [feature(SQUARE) | {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}],
            "feature 1 has a broken shape",
        ),
        ([feature(SQUARE) | {"geometry": {"type": "Polygon"}}], "feature 1 has a broken shape"),
        (
            [feature(SQUARE) | {"geometry": {"type": "Circle", "coordinates": [0, 0]}}],
            "feature 1 has a broken shape",
        ),
        (
            [
                feature(SQUARE)
                | {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], ["a", 1], [1, 0], [0, 0]]]}}
            ],
            "feature 1 has a broken shape",
        ),
        (
            '[{"type": "Feature", "properties": {"name": "A"}, "geometry": {"type": "Polygon", '
            '"coordinates": [[[0, 0], [NaN, 1], [1, 0], [0, 0]]]}}]',
            "feature 1 has a broken shape",
        ),
        (
            '[{"type": "Feature", "properties": {"name": "A"}, "geometry": {"type": "Polygon", '
            '"coordinates": [[[0, 0], [1e999, 1], [1, 0], [0, 0]]]}}]',
            "feature 1 has a broken shape",
        ),
    ],
)
def test_wrong_files_are_named(tmp_path, content, says):
    path = save(tmp_path, content, "wrong file.geojson")
    with pytest.raises(InputError) as error:
        read_geojson(path)
    assert str(path) in str(error.value) and says in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_no_text(tmp_path, real):
    (tmp_path / "x.geojson").write_bytes(b"\x89PNG\xff\xfe")
    for path in (
        tmp_path / "x.geojson",
        tmp_path / "none.geojson",
        tmp_path,
        real / "annotations" / "v7_darwin_103S.json",
    ):
        with pytest.raises(InputError, match=path.name):
            read_geojson(path)


def grid(n=10, size=10, slide_id="s"):
    y, x = np.mgrid[:n, :n] * size
    return pd.DataFrame({"slide_id": slide_id, "x": x.ravel(), "y": y.ravel(), "size": size})


def slides_with(tmp_path, *features, label="tumour"):
    return pd.DataFrame(
        {"slide_id": ["s"], "label": [label], "annotations": [str(save(tmp_path, list(features)))]}
    )


def test_share_equals_plain_intersection():
    region = shapely.Point(47, 51).buffer(33).difference(shapely.box(40, 40, 61, 57))
    tiles = grid()
    boxes = shapely.box(tiles.x, tiles.y, tiles.x + 10, tiles.y + 10)
    share = region_share(tiles["x"], tiles["y"], tiles["size"], region)
    assert np.allclose(share, shapely.area(shapely.intersection(boxes, region)) / 100)


@pytest.mark.parametrize(
    "region_min,outside,inside,none,rest",
    [
        (0.5, "ignore", 60, 40, 0),
        (0.5, "class:normal", 60, 0, 40),
        (0.7, "class:normal", 50, 10, 40),
        (0.4, "slide", 60, 0, 40),
        (0.3, "class:normal", 60, 0, 40),
        (0, "ignore", 60, 40, 0),
        (1, "ignore", 50, 50, 0),
    ],
)
def test_share_needed_and_policies_outside(tmp_path, region_min, outside, inside, none, rest):
    slides = slides_with(
        tmp_path, feature(shapely.box(0, 0, 56, 100), "acinar")
    )  # covers 0.6 of the sixth column
    tiles = label_tiles(grid(), slides, region_min=region_min, outside=outside)
    assert (tiles["label_source"] == "annotation").sum() == (tiles["label"] == "acinar").sum() == inside
    assert tiles["label"].isna().sum() == tiles["label_source"].isna().sum() == none
    source, name = {"slide": ("slide", "tumour")}.get(outside, ("outside", "normal"))
    assert ((tiles["label_source"] == source) & (tiles["label"] == name)).sum() == rest


def test_exactly_half_is_inside(tmp_path):
    slides = slides_with(tmp_path, feature(shapely.box(0, 0, 5, 100)))
    assert label_tiles(grid(), slides)["label"].notna().sum() == 10


def test_overlaps_and_ties(tmp_path):
    slides = slides_with(
        tmp_path,
        feature(SQUARE, "a big"),
        feature(shapely.box(0, 0, 30, 30), "z inner"),
        feature(shapely.box(50, 0, 60, 7), "part"),
    )
    at = label_tiles(grid(), slides).set_index(["x", "y"])["label"]
    assert at[0, 0] == "z inner" and at[50, 0] == "a big" and at[90, 90] == "a big"
    halves = slides_with(
        tmp_path, feature(shapely.box(0, 0, 5, 10), "b"), feature(shapely.box(5, 0, 10, 10), "a")
    )
    assert label_tiles(grid(1), halves)["label"].tolist() == ["a"]


def test_regions_drawn_twice_count_once(tmp_path):
    slides = slides_with(tmp_path, *[feature(shapely.box(0, 0, 4, 10))] * 2)
    assert label_tiles(grid(1), slides)["label"].isna().all()


def test_slides_without_file_and_labels_slide(tmp_path):
    slides = pd.concat(
        [
            slides_with(tmp_path, feature(shapely.box(0, 0, 50, 100), "acinar")),
            pd.DataFrame({"slide_id": ["t/ü", "u"], "label": ["normal", None], "annotations": [None, None]}),
        ],
        ignore_index=True,
    )
    tiles = pd.concat([grid(), grid(slide_id="t/ü"), grid(slide_id="u")]).sample(frac=1, random_state=0)
    found = label_tiles(tiles, slides)
    assert found.index.equals(tiles.index) and found["x"].equals(tiles["x"]) and "label" not in tiles
    counts = found.groupby(["slide_id", "label", "label_source"], dropna=False).size().to_dict()
    missing = [k for k in counts if k[0] == "u"]
    assert (
        counts["s", "acinar", "annotation"] == 50
        and counts["t/ü", "normal", "slide"] == 100
        and len(missing) == 1
    )
    by_slide = label_tiles(tiles, slides, labels="slide")
    assert set(by_slide.loc[by_slide["slide_id"] == "s", "label"]) == {"tumour"}
    assert len(label_tiles(tiles[:0], slides)) == 0 and "label_source" in label_tiles(tiles[:0], slides)
    assert label_tiles(tiles, slides.drop(columns="annotations"))["label_source"].dropna().eq("slide").all()


def test_a_file_that_touches_no_tile_is_told(tmp_path):
    slides = slides_with(tmp_path, feature(shapely.box(5000, 5000, 6000, 6000)))
    with pytest.warns(UserWarning, match="none of the 100 tiles"):
        assert label_tiles(grid(), slides)["label"].isna().all()


def test_an_empty_file_says_that_all_is_outside(tmp_path):
    slides = slides_with(tmp_path)
    assert label_tiles(grid(), slides, outside="class:normal")["label"].eq("normal").all()


@pytest.mark.parametrize(
    "wrong,says",
    [
        ({"labels": "boxes"}, "'boxes'"),
        ({"outside": "normal"}, "class:NAME"),
        ({"outside": "class: "}, "class:NAME"),
    ],
)
def test_wrong_choices(tmp_path, wrong, says):
    with pytest.raises(InputError, match=says):
        label_tiles(grid(), slides_with(tmp_path, feature(SQUARE)), **wrong)


def test_tiles_of_an_unknown_slide(tmp_path):
    with pytest.raises(InputError, match="other"):
        label_tiles(grid(slide_id="other"), slides_with(tmp_path, feature(SQUARE)))


def test_colours_differ_and_do_not_depend_on_names():
    colors = class_colors([f"class {i}" for i in range(16)])
    assert len(set(colors.values())) == 16
    assert list(class_colors("ab").values()) == list(class_colors("yx").values())
