"The slide viewer: its tile server, its state, and the whole of it in JupyterLab."
import io
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
from deepslide_nb.viewer import VIEW_OVERLAP, VIEW_TILE, SlideViewer, TileServer, layer_size, tile_jpeg, value_layer, view_levels


REAL_SLIDES = ["CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1_small.svs"]


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

            def square(column, row):  # without what reaches into the neighbours
                top, left = (VIEW_OVERLAP * (place > 0) for place in (row, column))
                return decoded(tile_jpeg(slide, level, column, row, 95))[top : top + VIEW_TILE, left : left + VIEW_TILE]

            mosaic = np.vstack([np.hstack([square(c, r) for c in range(columns)]) for r in range(rows)])
            assert mosaic.shape[:2] == (np.ceil(h / downsample), np.ceil(w / downsample))
            y, x = np.mgrid[: mosaic.shape[0], : mosaic.shape[1]]
            assert np.abs(mosaic[..., 0] - (x + 0.5) * downsample * 255 / w).mean() < 3
            assert np.abs(mosaic[..., 1] - (y + 0.5) * downsample * 255 / h).mean() < 3


@pytest.mark.parametrize("place", [(-1, 0, 0), (99, 0, 0), (0, 1, 0), (0, 0, -1)])
def test_no_such_tile(pyramid, place):
    with open_slide(pyramid) as slide, pytest.raises(InputError, match="no tile"):
        tile_jpeg(slide, *place)


@pytest.mark.parametrize("name", REAL_SLIDES)
def test_real_slides(real, name):
    "A tile of the finest level is what OpenSlide reads there."
    with open_slide(real / "slides" / name) as slide:
        level = len(view_levels(slide)) - 1
        seen = decoded(tile_jpeg(slide, level, 2, 3, 95))
        truth = np.asarray(slide._file.read_region((511, 767), 0, (258, 258)).convert("RGB"), dtype=float)
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
    lab.wait_for(lambda: len(viewer.sent) == 2, 30, "two answers")
    (good, (data,)), (bad, nothing) = sorted(viewer.sent, key=lambda one: one[0]["number"])
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
    assert [one["name"] for one in viewer.widget.layers] == ["tissue mask", "tissue", "regions", "tile grid"]
    viewer.set_layer("tissue", visible=False)
    assert viewer.widget.layer_state["tissue"] == {"visible": False, "opacity": 0.3}
    bare = np.asarray(viewer.picture())
    viewer.set_layer("tissue", visible=True)
    assert (np.asarray(viewer.picture()) != bare).any()
    viewer.remove_layer("tissue")
    assert [one["name"] for one in viewer.widget.layers] == ["tissue mask", "regions", "tile grid"]


def test_a_class_has_one_colour(viewer):
    "In regions, class map and labels, in whatever order they come."
    box = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 20], [0, 20], [0, 0]]]}
    viewer.widget.regions = [{"name": "b", "geometry": box}]
    viewer.show_values(viewer.tiles.assign(prob_a=0.2, prob_b=0.8))
    viewer.show_values(viewer.tiles.assign(label="b"), "label")
    colors = dict(map(tuple, viewer.widget.classes))
    for layer in viewer.widget.layers:
        legend = dict(map(tuple, layer["legend"].get("classes", [])))
        assert {c: colors[c] for c in legend} == legend
    assert colors["a"] != colors["b"]


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


@pytest.fixture(scope="module")
def desk(chromium, tmp_path_factory):
    "A folder that a JupyterLab serves, its address, and a page of a Chromium."
    folder = tmp_path_factory.mktemp("lab")
    with lab.jupyterlab(folder) as address, lab.chromium(chromium) as page:
        yield folder, address, page


def open_viewer(desk, name, cell):
    "Run a cell that ends in a viewer; a function that runs code in its kernel, the page, the viewer's stage."
    folder, address, page = desk
    lab.write_notebook(folder / name, [cell])
    lab.open_notebook(page, address, name)
    stage = page.locator(".dsnb-stage").first
    stage.wait_for(timeout=60000)
    page.evaluate(lab.LISTEN)
    tell = lambda code: lab.in_kernel(page, code)  # noqa: E731
    lab.wait_for(lambda: tell("print(viewer.view[2] > 0)") == "True", 30, "a view")
    return tell, page, stage


def settled(page):
    "Wait until no tile came for half a second."
    before = -1
    while (now := page.evaluate("() => window.arrived.length")) != before:
        before = now
        page.wait_for_timeout(500)


def middle_of(stage):
    box = stage.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def shot(page, x, y, w, h):
    "uint8 (h, w, 3) of the page."
    data = page.screenshot(clip={"x": x, "y": y, "width": w, "height": h})
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


CELL = """from deepslide_nb.viewer import SlideViewer
import pandas as pd, time, threading
tiles = pd.read_json("tiles.json")
viewer = SlideViewer("slide.tif", tiles, save_to="drawn.geojson", classes=["tumour", "normal"])
viewer.show_values(tiles, "tissue")
viewer"""


def test_in_jupyterlab(desk, pyramid):
    "Opened, zoomed, clicked, drawn in, by mouse and by keyboard; read back in Python; accessible; nothing fetched."
    folder, address, _ = desk
    shutil.copy(pyramid, folder / "slide.tif")
    tiles_of(1000, 700).to_json(folder / "tiles.json")
    asked = []
    desk[2].on("request", lambda r: asked.append(r.url))
    tell, page, stage = open_viewer(desk, "n.ipynb", CELL)
    settled(page)
    lab.check_accessible(page, ".dsnb")

    # the colour in the middle of the picture is the slide's there
    for name in ("tissue", "tile grid"):
        page.get_by_role("checkbox", name=name).uncheck()
    page.wait_for_timeout(300)
    middle = middle_of(stage)
    x, y, d = map(float, tell("print(*viewer.view)").split())
    truth = (x + 32 * d) * 255 / 1000, (y + 32 * d) * 255 / 700, 128
    seen = shot(page, middle[0] + 30, middle[1] + 30, 4, 4).astype(float).mean((0, 1))
    assert np.abs(seen - truth).max() < 6
    assert tell("print(viewer.widget.layer_state['tissue']['visible'])") == "False"

    # a click picks the tile under it
    page.mouse.click(middle[0] + 40, middle[1] - 40)
    want = f"{(x + 40 * d) // 100 * 100:.0f} {(y - 40 * d) // 100 * 100:.0f}"
    picked = "print(*(viewer.picked[['x', 'y']] if viewer.picked is not None else []))"
    lab.wait_for(lambda: tell(picked) == want, 30, want)
    assert "slide_id a" in page.locator(".dsnb-status").inner_text()

    # so does a finger
    page.touchscreen.tap(middle[0] - 40, middle[1] + 40)
    want = f"{(x - 40 * d) // 100 * 100:.0f} {(y + 40 * d) // 100 * 100:.0f}"
    lab.wait_for(lambda: tell(picked) == want, 30, want)

    # a box by mouse, its corner pulled, a polygon by keyboard, saved with the button
    page.get_by_role("button", name="tool: box").click()
    page.mouse.move(middle[0] - 60, middle[1] - 50)
    page.mouse.down()
    page.mouse.move(middle[0] + 10, middle[1] + 10, steps=4)
    page.mouse.move(middle[0] + 60, middle[1] + 50, steps=4)
    page.mouse.up()
    lab.wait_for(lambda: tell("print(len(viewer.regions))") == "1", 30, "a box")
    bounds = lambda: np.array(tell("print(*viewer.regions.geometry[0].bounds)").split(), dtype=float)  # noqa: E731
    assert np.abs(bounds() - [x - 60 * d, y - 50 * d, x + 60 * d, y + 50 * d]).max() < 2 * d
    page.get_by_role("button", name="tool: edit").click()
    page.mouse.click(*middle)
    page.mouse.move(middle[0] + 60, middle[1] + 50)
    page.mouse.down()
    page.mouse.move(middle[0] + 90, middle[1] + 80, steps=5)
    page.mouse.up()
    lab.wait_for(lambda: np.abs(bounds()[2:] - [x + 90 * d, y + 80 * d]).max() < 3 * d, 30, "the corner")
    page.get_by_role("button", name="tool: polygon").click()
    page.locator(".openseadragon-canvas").first.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press("Enter")
        page.keyboard.press(key)
        page.wait_for_timeout(700)
    page.keyboard.press("c")
    lab.wait_for(lambda: tell("print(len(viewer.regions))") == "2", 30, "a polygon")
    page.get_by_role("button", name="save the regions").click()
    lab.wait_for((folder / "drawn.geojson").exists, 30, "the file")
    assert list(read_regions(folder / "drawn.geojson").name) == ["tumour", "tumour"]
    page.get_by_role("button", name="delete region 2 tumour").click()
    lab.wait_for(lambda: tell("print(len(viewer.regions))") == "1", 30, "one region less")

    # to a place from Python and from the fields, and what fails is seen
    tell("viewer.go_to(500, 350, 0.5)")
    page.wait_for_timeout(800)
    page.get_by_label("x, level-0").focus()
    for key in ("2", "0", "0", "Tab", "3", "0", "0", "Enter"):
        page.keyboard.press(key)
    view = "print(*(round(v, 3) for v in viewer.view))"
    lab.wait_for(lambda: tell(view) == "200.0 300.0 0.5", 30, "the place")
    tell("viewer.on_pick(lambda row: 1 / 0)")
    page.get_by_role("button", name="tool: move").click()
    page.mouse.click(*middle)
    page.get_by_role("alert").filter(has_text="division by zero").wait_for(timeout=30000)
    lab.check_accessible(page, ".dsnb")
    for name in ("tissue", "tile grid"):
        page.get_by_role("checkbox", name=name).check()
    page.get_by_role("button", name="show the whole slide").click()
    settled(page)
    lab.keep_shot(page, folder, "viewer")
    assert not [u for u in asked if not u.startswith((address, "data:", "blob:"))]
    assert not [t for t in page.said if "dsnb" in t or "OpenSeadragon" in t], page.said


LINKED = """from deepslide_nb.viewer import SlideViewer, link_viewers
import ipywidgets
viewer, right = SlideViewer("slide.tif", height=300), SlideViewer("slide.tif", height=300)
link = link_viewers(viewer, right)
ipywidgets.HBox([viewer.widget, right.widget])"""


LATER = """from deepslide_nb.viewer import SlideViewer
import ipywidgets
viewer = SlideViewer("slide.tif")
viewer.go_to(300, 200, 0.7)
box = ipywidgets.VBox([])
row = ipywidgets.VBox([box])
box.children = [viewer.widget]
row"""


def test_a_view_set_before_it_is_shown(desk, pyramid):
    "A widget in a box is rendered before it has a size; the place that Python chose must survive that."
    shutil.copy(pyramid, desk[0] / "slide.tif")
    tell, page, stage = open_viewer(desk, "later.ipynb", LATER)
    settled(page)
    assert tell("print(*(round(v, 2) for v in viewer.view))") == "300.0 200.0 0.7"
    x, y = middle_of(stage)
    seen = shot(page, x - 2, y - 2, 4, 4).astype(float).mean((0, 1))
    assert np.abs(seen - (300 * 255 / 1000, 200 * 255 / 700, 128)).max() < 6


def test_linked(desk, pyramid):
    "Two viewers side by side show the same place, whichever is moved."
    shutil.copy(pyramid, desk[0] / "slide.tif")
    tell, page, stage = open_viewer(desk, "linked.ipynb", LINKED)
    views = "print(*(round(v, 2) for v in viewer.view), '|', *(round(v, 2) for v in right.view))"
    for name, stage in (("left", stage), ("right", page.locator(".dsnb-stage").nth(1))):
        before, x, y = tell(views), *middle_of(stage)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x - 50, y - 40, steps=5)
        page.mouse.up()
        lab.wait_for(lambda: tell(views) != before, 30, f"the {name} viewer to move")
        page.wait_for_timeout(800)
        one, other = tell(views).split(" | ")
        assert one == other


HUGE = """from deepslide_nb.viewer import SlideViewer
viewer = SlideViewer("huge.tif")
viewer"""
BUSY = """import time
start = time.time()
while time.time() < start + 5: sum(range(1000))
time.sleep(5)
print(time.time() - start)"""


def test_huge_slide_and_busy_kernel(desk):
    "100,000 x 100,000 pixels: every zoom shows what is there; tiles go on arriving while a cell runs for ten seconds."
    lab.write_huge(desk[0] / "huge.tif")
    tell, page, stage = open_viewer(desk, "huge.ipynb", HUGE)
    middle = middle_of(stage)
    for x, y, downsample in [(50_000, 50_000, 200), (80_000, 20_000, 30), (12_345, 67_890, 5), (8448, 256, 0.5)]:
        tell(f"viewer.go_to({x}, {y}, {downsample})")
        settled(page)
        seen = shot(page, middle[0] - 2, middle[1] - 2, 4, 4).astype(float).mean((0, 1))
        step = 512 * (1 if downsample < 4 else 16 if downsample > 16 else 4) / 100_000 * 180
        assert np.abs(seen - lab.huge_color(x, y)).max() < 4 + step, (x, y, downsample)
    tell("viewer.go_to(50000, 50000, 3)")
    settled(page)
    page.evaluate(f"() => {{ window.arrived.length = 0; window.busy = ({lab.RUN})(`{BUSY}`); }}")
    for k in range(6):
        page.wait_for_timeout(900)
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] - 300, middle[1] - 150, steps=4)
        page.mouse.up()
        if k == 2:
            early = page.evaluate("() => window.arrived.length")  # while a loop holds the interpreter
    late = page.evaluate("() => window.arrived.length")
    assert float(page.evaluate("() => window.busy")) >= 10
    assert early > 0 and late > early


ROUNDS = """import gc, threading, psutil
from deepslide_nb.viewer import SlideViewer
viewer, own = SlideViewer("slide.tif"), psutil.Process()
viewer"""


def test_ten_rounds(desk, pyramid):
    "Shown and closed ten times over: no file handle and no thread stays behind in the kernel."
    shutil.copy(pyramid, desk[0] / "slide.tif")
    tell, page, stage = open_viewer(desk, "rounds.ipynb", ROUNDS)
    count = "print(len(own.open_files()), threading.active_count())"
    tell("viewer.close()")
    before = tell(count)
    for _ in range(10):
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        lab.wait_for(lambda: tell("print(len(viewer._server._kept) > 0)") == "True", 30, "tiles")
        assert tell(count) != before
        tell("viewer.close()")
        stage.wait_for(state="detached", timeout=30000)
    assert tell(count) == before


REAL = """from deepslide_nb.viewer import SlideViewer
viewer = SlideViewer({path!r})
viewer"""


@pytest.mark.parametrize("name", REAL_SLIDES)
def test_real_slides_in_the_browser(desk, real, name):
    "What stands on the screen, at one slide pixel to a screen pixel and zoomed out, is what OpenSlide reads there."
    path = real / "slides" / name
    tell, page, stage = open_viewer(desk, f"{name}.ipynb", REAL.format(path=str(path)))
    middle, (w, h) = middle_of(stage), map(int, tell("print(*viewer.slide.dimensions)").split())
    with open_slide(path) as slide:
        for downsample, most in ((1, 6), (3, 10)):  # grey levels; zoomed out, browser and Pillow resample differently
            tell(f"viewer.go_to({w // 2}, {h // 2}, {downsample})")
            settled(page)
            corner = w // 2 - 128 * downsample, h // 2 - 100 * downsample
            truth = slide._file.read_region(corner, 0, (256 * downsample, 200 * downsample)).convert("RGB")
            truth = np.asarray(truth.resize((256, 200), Image.Resampling.BOX), dtype=float)
            for _ in range(20):  # on a busy machine the sharp tiles come late
                seen = shot(page, round(middle[0]) - 128, round(middle[1]) - 100, 256, 200).astype(float)
                if np.abs(seen - truth).mean() < most:
                    break
                page.wait_for_timeout(500)
            moved = [np.roll(seen, by, (0, 1)) for by in ((1, 0), (0, 1), (-1, 0), (0, -1))]
            error, others = np.abs(seen - truth).mean(), [np.abs(m - truth).mean() for m in moved]
            assert error < most and error < min(others), (downsample, error, others)
