"The slide viewer: its tile server, its state, and the whole of it in JupyterLab."
import io
import os
import shutil
import threading

import numpy as np
import pandas as pd
import lab
import pytest
import shapely
import tifffile
from PIL import Image

from deepslide_nb.annotations import read_regions
from deepslide_nb.settings import InputError
from deepslide_nb.slides import open_slide
from deepslide_nb.viewer import VIEW_TILE, SlideViewer, TileServer, layer_size, tile_jpeg, value_layer, view_levels


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    "A tiled TIFF of 1000 x 700 with levels 1 and 4: red grows to the right, green downwards."
    y, x = np.mgrid[:700, :1000]
    pixels = np.stack([x * 255 // 1000, y * 255 // 700, np.full_like(x, 128)], axis=-1).astype(np.uint8)
    path = tmp_path_factory.mktemp("pyramid") / "a b.tif"
    with tifffile.TiffWriter(path) as tif:
        for step in (1, 4):
            tif.write(pixels[::step, ::step], tile=(64, 64), photometric="rgb", compression="deflate", subfiletype=int(step > 1),
                      resolution=(20000 / step, 20000 / step), resolutionunit="CENTIMETER")  # fmt: skip
    return path


def tiles_of(w, h, size=100):
    x, y = (a.ravel() for a in np.meshgrid(np.arange(0, w, size), np.arange(0, h, size)))
    return pd.DataFrame({"slide_id": "a", "x": x, "y": y, "size": size, "tissue": x / w})


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)), dtype=float)


def test_levels(pyramid):
    with open_slide(pyramid) as slide:
        levels = view_levels(slide)
        assert levels[-1] == 1 and levels == sorted(levels, reverse=True)
        assert max(a / b for a, b in zip(levels, levels[1:])) <= 3
        assert max(slide.dimensions) / levels[0] <= VIEW_TILE


def test_tiles_cover_the_slide(pyramid):
    "All tiles of a level, laid out as the browser does, are the slide at that scale."
    with open_slide(pyramid) as slide:
        w, h = slide.dimensions
        for level, downsample in enumerate(view_levels(slide)):
            columns, rows = (int(np.ceil(side / downsample / VIEW_TILE)) for side in (w, h))
            mosaic = np.vstack(
                [np.hstack([decoded(tile_jpeg(slide, level, c, r, 95)) for c in range(columns)]) for r in range(rows)]
            )
            assert mosaic.shape[:2] == (np.ceil(h / downsample), np.ceil(w / downsample))
            y, x = np.mgrid[: mosaic.shape[0], : mosaic.shape[1]]
            assert np.abs(mosaic[..., 0] - (x + 0.5) * downsample * 255 / w).mean() < 3
            assert np.abs(mosaic[..., 1] - (y + 0.5) * downsample * 255 / h).mean() < 3


@pytest.mark.parametrize("place", [(-1, 0, 0), (99, 0, 0), (0, 1, 0), (0, 0, -1)])
def test_no_such_tile(pyramid, place):
    with open_slide(pyramid) as slide, pytest.raises(InputError, match="no tile"):
        tile_jpeg(slide, *place)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1_small.svs"])
def test_real_slides(real, name):
    "A tile of the finest level is what OpenSlide reads there."
    with open_slide(real / "slides" / name) as slide:
        level = len(view_levels(slide)) - 1
        seen = decoded(tile_jpeg(slide, level, 2, 3, 95))
        truth = np.asarray(slide._file.read_region((512, 768), 0, (256, 256)).convert("RGB"), dtype=float)
        assert np.abs(seen - truth).mean() < 3


def test_server_keeps_and_is_shared(pyramid, monkeypatch):
    monkeypatch.setattr("deepslide_nb.viewer.KEEP_TILES", 3)
    with open_slide(pyramid) as slide:
        server, level = TileServer(slide), len(view_levels(slide)) - 1
        places = [(level, c, r) for c in range(4) for r in range(3)]
        truth = {p: tile_jpeg(slide, *p) for p in places}
        wrong = []
        threads = [
            threading.Thread(target=lambda: wrong.extend(p for p in places if server(*p) != truth[p])) for _ in range(4)
        ]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert not wrong and len(server._kept) <= 3


def test_layer_size():
    tiles = pd.DataFrame({"size": [100]})
    assert layer_size((1000, 500), tiles) == (80, 160)
    assert max(layer_size((10**5, 10**5), tiles)) == 2048
    assert layer_size((1000, 10), tiles.head(0)) == (1, 1)


def test_value_layer_lies_where_its_tile_lies(pyramid):
    with open_slide(pyramid) as slide:
        tile = pd.DataFrame({"x": [500], "y": [100], "size": [100], "prob_a": [1.0], "prob_b": [0.0]})
        picture, legend = value_layer(slide, tile)
        assert [name for name, _ in legend["classes"]] == ["a", "b"]
        rows, columns = np.nonzero(picture[..., 3])
        scale = picture.shape[1] / slide.dimensions[0]
        assert (columns.min() / scale, (columns.max() + 1) / scale) == pytest.approx((500, 600))
        assert (rows.min() / scale, (rows.max() + 1) / scale) == pytest.approx((100, 200))


@pytest.fixture
def viewer(pyramid, tmp_path):
    with SlideViewer(pyramid, tiles_of(1000, 700), save_to=tmp_path / "out" / "drawn.geojson") as made:
        made.sent = []
        made.widget.send = lambda content, buffers=None: made.sent.append((content, buffers))
        yield made


def test_messages(viewer):
    viewer._receive(viewer.widget, {"type": "tiles", "view": "v", "tiles": [[1, 0, 0, 0], [2, 0, 9, 9]]}, [])
    (good, (data,)), (bad, nothing) = viewer.sent
    assert good == {"type": "tile", "view": "v", "number": 1} and decoded(data).shape[2] == 3
    assert "no tile" in bad["error"] and not nothing
    viewer._receive(viewer.widget, {"type": "dance"}, [])
    assert "dance" in viewer.error
    viewer._receive(viewer.widget, {"nothing": 1}, [])
    assert viewer.error.startswith("KeyError")


def test_pick(viewer):
    seen = []
    viewer.on_pick(seen.append)
    viewer._receive(viewer.widget, {"type": "pick", "place": [250, 350]}, [])
    assert (viewer.picked.x, viewer.picked.y) == (200, 300) and seen[0].name == viewer.picked.name
    assert viewer.widget.picked["text"].startswith("slide_id a, x 200")
    viewer.on_pick(lambda row: [][1])
    viewer._receive(viewer.widget, {"type": "pick", "place": [5000, 0]}, [])
    assert viewer.picked is None and "IndexError" in viewer.error
    viewer._on_pick.clear()
    viewer.show_tiles(viewer.tiles.assign(x=viewer.tiles.x / 2).iloc[:2])  # overlapping: 0-100 and 50-150
    assert viewer.pick(90, 50).x == 50


def test_draw_and_save(viewer):
    "A box and a polygon whose lines cross, as the browser sends them, come back as valid regions."
    box = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 20], [0, 20], [0, 0]]]}
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]}
    viewer.widget.regions = [{"name": "Tümor/<b>", "geometry": box}, {"name": "fold", "geometry": bow}]
    viewer._receive(viewer.widget, {"type": "save"}, [])
    assert viewer.error == "" and "2 regions" in viewer.widget.message
    back = read_regions(viewer.save_to)
    assert list(back.name) == ["Tümor/<b>", "fold"]
    assert back.geometry[0].equals(shapely.box(0, 0, 10, 20)) and back.geometry[1].area == pytest.approx(50)
    viewer.regions = back
    assert all(a.equals(b) for a, b in zip(viewer.regions.geometry, back.geometry))
    assert {name for name, _ in viewer.widget.classes} == {"Tümor/<b>", "fold"}


def test_layers(viewer):
    viewer.show_values(viewer.tiles, "tissue")
    viewer.show_tissue(np.eye(20, dtype=bool))
    viewer.show_values(viewer.tiles, "tissue", opacity=0.3)
    assert [one["name"] for one in viewer.widget.layers] == ["tissue", "regions", "tile grid"]
    viewer.set_layer("tissue", visible=False)
    assert viewer.widget.layer_state["tissue"] == {"visible": False, "opacity": 0.3}
    bare = np.asarray(viewer.picture())
    viewer.set_layer("tissue", visible=True)
    assert (np.asarray(viewer.picture()) != bare).any()
    viewer.remove_layer("tissue")
    assert [one["name"] for one in viewer.widget.layers] == ["regions", "tile grid"]


def test_close_gives_back(pyramid):
    "Open and closed, no file handle and no thread stays; a slide that was given stays open."
    psutil = pytest.importorskip("psutil")
    own, threads = psutil.Process(), threading.active_count()
    files = len(own.open_files())
    for _ in range(10):
        SlideViewer(pyramid).close()
    assert len(own.open_files()) == files and threading.active_count() == threads
    with open_slide(pyramid) as slide:
        SlideViewer(slide).close()
        slide.read(0, 0, 10, 10)


CELL = """from deepslide_nb.viewer import SlideViewer
import pandas as pd, time, threading
tiles = pd.read_json("tiles.json")
viewer = SlideViewer("slide.tif", tiles, save_to="drawn.geojson", classes=["tumour", "normal"])
viewer.show_values(tiles, "tissue")
viewer"""

BUSY = """import time
for _ in range(40): time.sleep(0.1)
print(len(viewer._server._kept))"""


@pytest.fixture(scope="module")
def browser():
    "A Chromium, or a skip where the machine has none (a failure on the CI machine)."
    pytest.importorskip("playwright")
    from deepslide_nb.cli import find_browser

    path = find_browser()
    if not path and os.environ.get("CI"):
        pytest.fail("no Chromium on the CI machine: .ci/run installs it")
    return path or pytest.skip("no Chromium on this machine")


def test_in_jupyterlab(browser, pyramid, tmp_path):
    "Opened, zoomed, clicked, drawn in, by mouse and by keyboard; read back in Python; busy kernel; nothing fetched."
    shutil.copy(pyramid, tmp_path / "slide.tif")
    tiles_of(1000, 700).to_json(tmp_path / "tiles.json")
    lab.write_notebook(tmp_path / "n.ipynb", [CELL])
    with lab.jupyterlab(tmp_path) as address, lab.chromium(browser) as page:
        asked = []
        page.on("request", lambda r: asked.append(r.url))
        lab.open_notebook(page, address, "n.ipynb")
        stage = page.locator(".dsnb-stage")
        stage.wait_for(timeout=60000)
        tell = lambda code: lab.in_kernel(page, code)  # noqa: E731
        lab.wait_for(lambda: tell("print(len(viewer._server._kept))") != "0", 20, "tiles")
        lab.wait_for(lambda: tell("print(viewer.view[2] > 0)") == "True", 20, "a view")

        # the colour in the middle of the picture is the slide's there
        page.wait_for_timeout(1500)
        for name in ("tissue", "tile grid"):
            page.get_by_role("checkbox", name=name).uncheck()
        box = stage.bounding_box()
        place = {"x": box["x"] + box["width"] / 2 + 30, "y": box["y"] + box["height"] / 2 + 30}
        shot = Image.open(io.BytesIO(page.screenshot(clip=place | {"width": 4, "height": 4}))).convert("RGB")
        x, y, d = map(float, tell("print(*viewer.view)").split())
        truth = (x + 32 * d) * 255 / 1000, (y + 32 * d) * 255 / 700, 128
        assert np.abs(np.asarray(shot, dtype=float).mean((0, 1)) - truth).max() < 6
        assert tell("print(viewer.widget.layer_state['tissue']['visible'])") == "False"

        # a click picks the tile under it
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.click(middle[0] + 40, middle[1] - 40)
        want = f"{(x + 40 * d) // 100 * 100:.0f} {(y - 40 * d) // 100 * 100:.0f}"
        lab.wait_for(lambda: tell("print(*(viewer.picked[['x', 'y']] if viewer.picked is not None else []))") == want, 10, want)
        assert "slide_id a" in page.locator(".dsnb-status").inner_text()

        # a box by mouse, a polygon by keyboard, saved with the button
        page.get_by_role("button", name="tool: box").click()
        page.mouse.move(middle[0] - 60, middle[1] - 50)
        page.mouse.down()
        page.mouse.move(middle[0] + 10, middle[1] + 10, steps=4)
        page.mouse.move(middle[0] + 60, middle[1] + 50, steps=4)
        page.mouse.up()
        lab.wait_for(lambda: tell("print(len(viewer.regions))") == "1", 10, "a box")
        bounds = np.array(tell("print(*viewer.regions.geometry[0].bounds)").split(), dtype=float)
        assert np.abs(bounds - [x - 60 * d, y - 50 * d, x + 60 * d, y + 50 * d]).max() < 2 * d
        page.get_by_role("button", name="tool: polygon").click()
        page.locator(".openseadragon-canvas").first.focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
            page.keyboard.press("Enter")
            page.keyboard.press(key)
            page.wait_for_timeout(700)
        page.keyboard.press("c")
        lab.wait_for(lambda: tell("print(len(viewer.regions))") == "2", 10, "a polygon")
        page.get_by_role("button", name="save the regions").click()
        lab.wait_for((tmp_path / "drawn.geojson").exists, 10, "the file")
        assert list(read_regions(tmp_path / "drawn.geojson").name) == ["tumour", "tumour"]

        # to a place from Python and from the fields, and what fails is seen
        tell("viewer.go_to(500, 350, 0.5)")
        page.wait_for_timeout(800)
        page.get_by_label("x, level-0").fill("200")
        page.get_by_label("y, level-0").fill("300")
        page.get_by_role("button", name="go to the place").click()
        lab.wait_for(lambda: tell("print(*(round(v, 1) for v in viewer.view))") == "200.0 300.0 0.5", 10, "the place")
        tell("viewer.on_pick(lambda row: 1 / 0)")
        page.get_by_role("button", name="tool: move").click()
        page.mouse.click(*middle)
        page.get_by_role("alert").filter(has_text="division by zero").wait_for(timeout=10000)
        for name in ("tissue", "tile grid"):
            page.get_by_role("checkbox", name=name).check()
        page.get_by_role("button", name="show the whole slide").click()
        page.wait_for_timeout(1000)
        page.screenshot(path=os.environ.get("DEEPSLIDE_SHOT", tmp_path / "viewer.png"))

        # tiles arrive while a cell runs
        tell("viewer._server._kept.clear()")
        page.evaluate(f"() => {{ window.busy = ({lab.RUN})(`{BUSY}`); }}")
        for _ in range(2):
            page.get_by_role("button", name="zoom in").click()
        assert int(page.evaluate("() => window.busy")) > 0
        assert not [u for u in asked if not u.startswith((address, "data:", "blob:"))]
        assert not [t for t in page.said if "dsnb" in t or "OpenSeadragon" in t], page.said
