"""Annotations: files as people and programs send them, and the rules by which regions label tiles."""

import json
import os
import random
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import shapely

from deepslide_nb import annotations
from deepslide_nb.annotations import (
    class_colors,
    label_tiles,
    read_boxes,
    read_geojson,
    read_regions,
    read_xml,
    region_share,
    write_geojson,
)
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
        ("[" + "9" * 5000 + "]", "not a GeoJSON text file"),
        ([feature(SQUARE), feature(SQUARE, " ")], "feature 2 has no class"),
        ([feature(SQUARE) | {"properties": None}], "feature 1 has no class"),
        ([feature(SQUARE) | {"properties": ["a"]}], "feature 1 has no class"),
        (
            [feature(SQUARE) | {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}],
            "feature 1 has a broken shape",
        ),
        ([feature(SQUARE) | {"geometry": {"type": "Polygon"}}], "feature 1 has a broken shape"),
        (json.dumps([feature(SQUARE)]).replace("100.0", "9" * 400), "feature 1 has a broken shape"),
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


def coordinates(points):
    return "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>\n' for i, (x, y) in enumerate(points))


def asap(*drawn):
    "An ASAP file of (group, type, points)."
    inside = "".join(
        f'<Annotation Name="Annotation {i}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">\n'
        f"<Coordinates>{coordinates(points)}</Coordinates></Annotation>\n"
        for i, (group, kind, points) in enumerate(drawn)
    )
    return f"<ASAP_Annotations><Annotations>\n{inside}</Annotations><AnnotationGroups/></ASAP_Annotations>"


def region(points, kind="0", negative="0", text=""):
    "A Region of ImageScope."
    corners = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>\n' for x, y in points)
    about = f'Type="{kind}" NegativeROA="{negative}" Text="{text}"'
    return f"<Region {about}>\n<Attributes/><Vertices>{corners}</Vertices></Region>\n"


def layer(*regions, name="tumour", described=""):
    "A layer of ImageScope."
    about = f'<Attributes><Attribute Name="Description" Id="0" Value="{described}"/></Attributes>'
    return f'<Annotation Id="1" Name="{name}">{about}<Regions>{"".join(regions)}</Regions></Annotation>\n'


def imagescope(*layers):
    return f'<?xml version="1.0"?>\n<Annotations MicronsPerPixel="0.5">\n{"".join(layers)}</Annotations>'


CORNERS = [(0, 0), (100, 0), (100, 100), (0, 100)]
INNER = [(40, 40), (60, 40), (60, 60), (40, 60)]
RING = SQUARE - shapely.box(40, 40, 60, 60)


@pytest.mark.parametrize("group", ["exclude", "Exclusion", "HOLE", "_2"])
def test_asap_holes_are_a_group(tmp_path, group):
    box = ("rest", "Rectangle", [(200, 0), (210, 9)])
    content = asap((group, "Polygon", INNER), ("Tumor/é", "Polygon", CORNERS), box)
    regions = read_regions(save(tmp_path, content, "a.xml"))
    assert regions["name"].tolist() == ["Tumor/é", "rest"]
    assert regions["geometry"][0].equals(RING) and regions["geometry"][1].area == 90


def test_asap_points_are_sorted_by_their_order(tmp_path):
    shuffled = "".join(
        f'<Coordinate Order="{i}" X="{CORNERS[i][0]}" Y="{CORNERS[i][1]}"/>' for i in (2, 0, 3, 1)
    )
    content = asap(("a", "Spline", CORNERS)).replace(coordinates(CORNERS), shuffled)
    assert read_xml(save(tmp_path, content, "a.xml"))["geometry"][0].equals(SQUARE)


def test_asap_points_and_measurements_are_left_out_aloud(tmp_path):
    flat = [("a", "Dot", CORNERS[:1]), ("a", "PointSet", CORNERS), ("None", "Measurement", CORNERS[:2])]
    with pytest.warns(UserWarning, match="a.xml: 3 points or lines"):
        assert len(read_xml(save(tmp_path, asap(("a", "Polygon", CORNERS), *flat), "a.xml"))) == 1


def test_negative_regions_are_cut_out_of_their_layer_only(tmp_path):
    content = imagescope(
        layer(region(INNER, negative="1"), region(CORNERS)),
        layer(region(CORNERS), name="stroma"),
    )
    regions = read_regions(save(tmp_path, content, "a.xml"))
    assert regions["name"].tolist() == ["tumour", "stroma"]
    assert regions["geometry"][0].equals(RING) and regions["geometry"][1].equals(SQUARE)


def test_a_region_that_is_cut_away_whole_is_gone(tmp_path):
    content = imagescope(layer(region(INNER), region(CORNERS, negative="1"), region([(200, 0), (300, 0), (300, 9)])))
    assert read_xml(save(tmp_path, content, "a.xml"))["geometry"].map(shapely.area).tolist() == [450]
    content = imagescope(layer(region(INNER), region(CORNERS, negative="1")))
    assert read_xml(save(tmp_path, content, "a.xml")).empty


def test_imagescope_tools(tmp_path):
    opposite, turned = [(0, 0), (40, 20)], [(0, 5), (5, 0), (10, 5), (5, 10)]
    shapes = [region(opposite, "1"), region(turned, "1"), region(opposite, "2")]
    content = imagescope(layer(*shapes, region(opposite, "3"), region(opposite, "4"), region(opposite)))
    with pytest.warns(UserWarning, match="3 points or lines"):
        areas = read_xml(save(tmp_path, content, "a.xml"))["geometry"].map(shapely.area)
    assert np.allclose(areas, [800, 50, np.pi * 200], rtol=1e-3)


@pytest.mark.parametrize(
    "content,name",
    [
        (layer(region(CORNERS, text="b"), name="a", described="c"), "a"),
        (layer(region(CORNERS, text="b"), name="", described="c"), "c"),
        (layer(region(CORNERS, text="b"), name=" "), "b"),
        (layer(region(CORNERS), name="a &amp; &lt;b&gt; e\u0301"), "a & <b> \xe9"),
        (layer(region(CORNERS)).replace(' Type="0" NegativeROA="0" Text=""', ""), "tumour"),
    ],
)
def test_where_imagescope_keeps_the_class(tmp_path, content, name):
    assert read_xml(save(tmp_path, imagescope(content), "a.xml"))["name"].tolist() == [name]


LAUGHS = '<!DOCTYPE a [\n<!ENTITY a "ha">\n' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">\n' for a, b in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    "content,says",
    [
        (LAUGHS + "]><Annotations>&i;</Annotations>", "line 1: the XML brings definitions"),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><Annotations/>', "line 1: the XML brings definitions"),
        (
            '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<a>&x;</a>',
            "line 2: the XML brings definitions",
        ),
        ("<Annotations>\n<Annotation>\n</Annotations>", "line 3, column 3: not valid XML (mismatched tag)"),
        ("<Annotations>&x;</Annotations>", "line 1, column 14: not valid XML (undefined entity)"),
        ("", "line 1, column 1: not valid XML"),
        ("<Annotations/>\n<Annotations/>", "line 2, column 1: not valid XML"),
        ('<?xml version="1.0" encoding="nonsense"?><Annotations/>', "not an XML text (unknown encoding"),
        ('<?xml version="1.0" encoding="utf-7"?><Annotations/>', "wrong file.xml"),
        ("\n<svg/>", "line 2: begins with <svg>"),
        (asap(("a", "Polygon", CORNERS), ("None", "Polygon", CORNERS)), "the region in line 8 has no class"),
        (asap(("a", "Polygon", [])), "the region in line 2 has a broken shape (it has no points)"),
        (asap(("a", "Cloud", CORNERS)), "the region in line 2 has a broken shape (the type 'Cloud' is unknown)"),
        (asap(("a", "Polygon", [(0, 0), (1, 0), ("x", 1)])), "the region in line 2 has a broken shape"),
        (asap(("a", "Polygon", [(0, 0), (1, 0), ("nan", 1)])), "not a number of pixels"),
        (asap(("a", "Polygon", [(0, 0), (1, 0), (1e300, 1)])), "not a number of pixels"),
        (asap(("a", "Polygon", CORNERS)).replace('Order="2"', 'Order="b"'), "line 2 has a broken shape"),
        (asap(("a", "Polygon", CORNERS)).replace('X="0"', ""), "line 2 has a broken shape"),
        (imagescope(layer(region(CORNERS), name="")), "the region in line 3 has no class"),
        (imagescope(layer(region(CORNERS), region(CORNERS, "9"))), "the region in line 9 has a broken shape"),
        (imagescope(layer(region([("1,5", 0), (1, 0), (1, 1)]))), "the region in line 3 has a broken shape"),
    ],
)
def test_wrong_xml_is_named_with_its_line(tmp_path, content, says):
    path = save(tmp_path, content, "wrong file.xml")
    for reader in (read_xml, read_regions):
        with pytest.raises(InputError) as error:
            reader(path)
        assert str(path) in str(error.value) and says in str(error.value) and "\n" not in str(error.value)


def test_an_attack_costs_nothing(tmp_path):
    "Billion laughs in a process with little memory and time; then depth instead of width."
    path = save(tmp_path, LAUGHS + "]><Annotations>&i;</Annotations>", "a.xml")
    code = (
        "import resource, sys; from deepslide_nb.annotations import read_regions\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "try: read_regions(sys.argv[1])\nexcept ValueError: print('refused')"
    )
    found = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert found.stdout == "refused\n", found.stderr
    deep = save(tmp_path, "<a>" * 300_000 + "</a>" * 300_000, "b.xml")
    with pytest.raises(InputError, match="begins with <a>"):
        read_regions(deep)


def test_a_file_too_large_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(annotations, "LARGEST", 1000)
    path = tmp_path / "a.xml"
    path.write_bytes(b"<Annotations>" + b" " * 2000)
    with pytest.raises(InputError, match="a.xml: above"):
        read_regions(path)


BOXES = "file,x,y,w,h,label\na.png,0,0,10,10,a\n\nb.png,20,0,5.5,2,b é\n"


@pytest.mark.parametrize(
    "content",
    [
        BOXES,
        BOXES.replace(",", ";"),
        BOXES.replace(",", "\t").replace("\n", "\r\n"),
        "\ufeff" + BOXES.replace("w,h,label", " Width , HEIGHT , Label "),
        BOXES.replace("label", "class"),
        BOXES.replace("label", "name"),
        BOXES.replace("label", "tissue_class"),
        BOXES.replace("file,", "class,"),
        BOXES.replace("b é", '"b e\u0301"'),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_forms_of_a_table_of_boxes(tmp_path, content, name):
    regions = read_regions(save(tmp_path, content, name))
    assert regions["name"].tolist() == ["a", "b é"] and regions["geometry"].map(shapely.area).tolist() == [100, 11]


def test_boxes_cut_out_of_boxes_and_no_boxes(tmp_path):
    content = "x,y,w,h,label\n0,0,100,100,a\n40,40,20,20,Exclude\n"
    assert read_boxes(save(tmp_path, content, "a.csv"))["geometry"][0].equals(RING)
    assert read_boxes(save(tmp_path, "x,y,w,h,label\n", "a.csv")).empty


@pytest.mark.parametrize(
    "content,says",
    [
        ("", "line 1: the columns are missing"),
        ("x,y,w,label\n", "line 1: the columns are 'x', 'y', 'w', 'label'; a table of boxes needs"),
        ("x,y,w,height,label\n", "line 1: the columns"),
        ("x,y,w,h,a_label,b_class\n", "line 1: the columns"),
        ("x,y,w,h,label,label\n", "line 1: the column 'label' stands there twice"),
        (BOXES.replace("5.5", "5,5"), "line 4: 7 cells where the header has 6"),
        (BOXES.replace("5.5", "five"), "the box in line 4 has a broken shape"),
        (BOXES.replace("5.5", ""), "the box in line 4 has a broken shape"),
        (BOXES.replace("5.5", "0"), "the box in line 4 has a broken shape (width and height must be above 0)"),
        (BOXES.replace("5.5", "nan"), "the box in line 4 has a broken shape (width and height must be above 0)"),
        (BOXES.replace("5.5", "inf"), "the box in line 4 has a broken shape (a coordinate is not a number"),
        (BOXES.replace("b é", " "), "the box in line 4 has no class"),
        (BOXES.replace("file", "slide_id"), "boxes of several slides"),
        ("line,x,y,w,h,label\n1,0,0,0,1,a\n", "the box in line 2 has a broken shape"),
        (BOXES + 'c,"', "line 5: not a CSV table"),
        (BOXES + "c" * 200_000, "line 5: not a CSV table"),
    ],
)
def test_wrong_boxes_are_named_with_their_line(tmp_path, content, says):
    path = save(tmp_path, content, "wrong file.csv")
    with pytest.raises(InputError) as error:
        read_regions(path)
    assert str(path) in str(error.value) and says in str(error.value) and "\n" not in str(error.value)


def test_real_boxes(real):
    path = real / "idc_slide" / "slide_14306_patches.csv"
    regions = read_regions(path)
    assert regions["name"].value_counts().to_dict() == {"0": 264, "1": 167}
    assert regions["geometry"].map(shapely.area).eq(2500).all()
    slides = pd.DataFrame({"slide_id": ["s"], "label": ["1"], "annotations": [str(path)]})
    patches = pd.read_csv(path)
    tiles = patches[["x", "y"]].assign(slide_id="s", size=50)
    assert label_tiles(tiles, slides)["label"].tolist() == patches["idc_label"].astype(str).tolist()


def test_the_form_is_told_by_the_content(tmp_path):
    contents = [json.dumps([feature(SQUARE)]), asap(("tumour", "Polygon", CORNERS)), imagescope(layer(region(CORNERS)))]
    for content in contents:
        for name in ("a.xml", "a.geojson", "a.csv", "a.annotations", "a"):
            for blank in ("", "\ufeff", "\n " * ("?xml" not in content)):
                assert read_regions(save(tmp_path, blank + content, name))["geometry"][0].equals(SQUARE)
    path = tmp_path / "utf16.xml"
    path.write_bytes(('<?xml version="1.0" encoding="utf-16"?>' + contents[1]).encode("utf-16"))
    assert read_regions(path)["name"].tolist() == ["tumour"]


@pytest.mark.parametrize("name", ["a.png", "a", "a.csv", "a.xml", "a.geojson"])
def test_other_files_are_refused(tmp_path, name):
    for content in (b"\x89PNG\r\n\x1a\n\xff", b"\x00" * 100, b"hello", b""):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_regions(tmp_path / name)
    for path in (tmp_path, tmp_path / "none", str(tmp_path / "a\0b")):
        with pytest.raises(InputError):
            read_regions(path)


def test_written_regions_come_back_exactly(tmp_path):
    rng = np.random.default_rng(0)
    blob = shapely.Point(1e5 / 3, 7e4 / 7).buffer(1000 / 7) - shapely.Point(1e5 / 3, 1e4).buffer(np.pi)
    areas = [blob, RING, shapely.union_all([RING, shapely.box(200, 0, 300, 1 / 3)])]
    areas += [shapely.convex_hull(shapely.MultiPoint(rng.random((9, 2)) * 1e5)) for _ in range(20)]
    names = ["a/é: b_1", "<b>", '"c"'] + ["d"] * 20
    regions = pd.DataFrame({"name": pd.Series(names, dtype="str"), "geometry": pd.Series(areas, dtype=object)})
    write_geojson(regions, tmp_path / "x" / "a.geojson")
    again = read_geojson(tmp_path / "x" / "a.geojson")
    assert again["name"].tolist() == names
    assert [g.wkb for g in again["geometry"]] == [g.wkb for g in areas]
    write_geojson(regions[:0], tmp_path / "none.geojson")
    assert read_regions(tmp_path / "none.geojson").empty


def test_written_as_qupath_writes(tmp_path):
    regions = pd.DataFrame({"name": ["b", "a"], "geometry": [RING, SQUARE]})
    for classes, first in ((None, [230, 159, 0]), (["b", "a"], [0, 114, 178]), (["x"], [0, 158, 115])):
        write_geojson(regions, tmp_path / "a.geojson", classes)
        content = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))
        found = content["features"][0]
        assert content["type"] == "FeatureCollection" and found["type"] == "Feature"
        assert found["properties"]["objectType"] == "annotation"
        assert found["properties"]["classification"] == {"name": "b", "color": first}
        assert len(found["geometry"]["coordinates"]) == 2


def mutated(rng, text):
    "The text with some of it lost, doubled or changed."
    data = bytearray(text.encode())
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at, n = rng.randrange(len(data) + 1), rng.randrange(1, 30)
        data[at : at + n] = rng.choice(
            [b"", data[at : at + n] * 2, rng.randbytes(n), rng.choice(TOKENS), data[: rng.randrange(40)]]
        )
    return bytes(data)


TRIES = int(os.environ.get("DEEPSLIDE_FUZZ", "150"))  # files of each form
TOKENS = [b'"', b"<", b">", b"&", b"{}", b"[]", b"null", b"NaN", b"-1", b"1e999", b"9" * 400, b"9" * 5000, b"\x00"]
TOKENS += [b"\n", b",", b";", b'""', b'"\\ud800"', b"[[[[", b"\xff\xfe", b"0", b"</a>", b"<!-- ", b"&lt;", b"None"]
TOKENS += [b'"type": "Point"', b'"GeometryCollection"', b'"MultiPolygon"', b"true", b'"names": 3', b'"names": [[]]']


@pytest.mark.parametrize("form", ["geojson", "asap", "imagescope", "csv"])
def test_broken_files_give_regions_or_one_sentence(tmp_path, form):
    "Fuzzing: whatever is done to a file, it is read or refused with InputError, and what is read labels tiles."
    text = {
        "geojson": json.dumps({"type": "FeatureCollection", "features": [feature(RING, "a"), feature(SQUARE, "b")]}),
        "asap": asap(("a", "Polygon", CORNERS), ("exclude", "Rectangle", INNER), ("b", "Spline", CORNERS)),
        "imagescope": imagescope(layer(region(CORNERS), region(INNER, negative="1"), region(INNER[:3:2], "2"))),
        "csv": BOXES,
    }[form]
    rng, path, read = random.Random(form), tmp_path / f"a.{form if form in ('geojson', 'csv') else 'xml'}", 0
    slides = pd.DataFrame({"slide_id": ["s"], "label": ["a"], "annotations": [str(path)]})
    for _ in range(TRIES):
        path.write_bytes(mutated(rng, text))
        try:
            with warnings.catch_warnings(action="ignore"):
                regions = read_regions(path)
                label_tiles(grid(3, 20), slides, outside="slide")
        except InputError as e:
            assert str(path) in str(e) and "\n" not in str(e)
        else:
            read += 1
            assert regions["name"].str.strip().ne("").all()
            assert all(g.is_valid and g.area > 0 for g in regions["geometry"])
            write_geojson(regions, tmp_path / "again.geojson")
            assert read_geojson(tmp_path / "again.geojson")["name"].tolist() == regions["name"].tolist()
    assert 0 < read < TRIES


def grid(n=10, size=10, slide_id="s"):
    y, x = np.mgrid[:n, :n] * size
    return pd.DataFrame({"slide_id": slide_id, "x": x.ravel(), "y": y.ravel(), "size": size})


def slides_with(tmp_path, *features, label="tumour"):
    return pd.DataFrame(
        {"slide_id": ["s"], "label": [label], "annotations": [str(save(tmp_path, list(features)))]}
    )


def test_labels_from_every_form(tmp_path):
    "The same two regions from each program give the same labels."
    left, right = [(0, 0), (50, 0), (50, 100), (0, 100)], [(50, 0), (100, 0), (100, 100), (50, 100)]
    contents = {
        "a.geojson": json.dumps([feature(shapely.Polygon(left), "a"), feature(shapely.Polygon(right), "b")]),
        "a.xml": asap(("a", "Polygon", left), ("b", "Polygon", right)),
        "b.xml": imagescope(layer(region(left), name="a"), layer(region(right), name="b")),
        "a.csv": "x,y,width,height,class\n0,0,50,100,a\n50,0,50,100,b\n",
    }
    for name, content in contents.items():
        slides = pd.DataFrame({"slide_id": ["s"], "label": ["a"], "annotations": [str(save(tmp_path, content, name))]})
        found = label_tiles(grid(), slides)
        assert found["label"].eq(np.where(found["x"] < 50, "a", "b")).all(), name


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
