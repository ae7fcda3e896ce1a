"The tile browser: what it finds, corrects and remembers, and the whole of it in JupyterLab."
import io
import json
import os
import threading

import lab
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepslide_nb.settings import InputError
from deepslide_nb.slides import open_slide
from deepslide_nb.viewer import SlideViewer
from deepslide_nb.tile_browser import OPEN_SLIDES, Corrections, Thumbnails, TileBrowser, find_tiles

SIDE, NAMES = 20, ["a/b", "<b>ü</b>", "three"]


def color(slide, column, row):
    "What the synthetic slides show in a cell."
    return 60 * slide + 20, 15 * column + 10, 20 * row + 10


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    "Three synthetic slides of 12 x 10 cells of one colour each; the names are what a user may call them."
    folder, rows = tmp_path_factory.mktemp("slides"), []
    for i, name in enumerate(NAMES):
        cells = np.array([[color(i, c, r) for c in range(12)] for r in range(10)], np.uint8)
        Image.fromarray(np.kron(cells, np.ones((SIDE, SIDE, 1), np.uint8))).save(folder / f"{i}.png")
        rows.append((name, str(folder / f"{i}.png"), "p q", "train" if i else "test", "lab"))
    return pd.DataFrame(rows, columns=["slide_id", "path", "label", "split", "laboratory"])


@pytest.fixture(scope="module")
def tiles():
    "Every cell of the three slides, in a random order, with an index that is none of the places."
    rows = [(n, SIDE * c, SIDE * r, SIDE, (c + 12 * r) / 120, "even" if c % 2 else "Tümor <i>") for n in NAMES for r in range(10) for c in range(12)]
    table = pd.DataFrame(rows, columns=["slide_id", "x", "y", "size", "tissue", "label"])
    table.loc[::7, "label"] = None
    return table.sample(frac=1, random_state=0).set_index(pd.Index(range(1000, 1360)), drop=True)


@pytest.fixture
def browser(tiles, slides):
    with TileBrowser(tiles, slides, px=32, per_page=25) as made:
        made.sent = []
        made.widget.send = lambda content, buffers=None: made.sent.append((content, buffers))
        yield made


def say(browser, what, **more):
    browser._receive(browser.widget, {"type": what, **more}, [])


def colors_of(tiles):
    return np.array([color(NAMES.index(t.slide_id), t.x // SIDE, t.y // SIDE) for t in tiles.itertuples()])


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)), dtype=float)


def test_find(tiles):
    assert list(find_tiles(tiles)) == list(range(360))
    found = tiles.iloc[find_tiles(tiles, {"slide_id": "<b>ü</b>", "tissue": (0.25, 0.5), "label": "even"}, "tissue", True)]
    assert set(found.slide_id) == {"<b>ü</b>"} and found.tissue.between(0.25, 0.5).all() and found.tissue.is_monotonic_decreasing
    assert len(found) == len(tiles.query("slide_id == '<b>ü</b>' and .25 <= tissue <= .5 and label == 'even'"))
    assert tiles.iloc[find_tiles(tiles, {"label": None})].label.isna().all()
    assert len(find_tiles(tiles, {"tissue": (None, None)})) == 360 and len(find_tiles(tiles, {"x": "40"})) == 30
    order = find_tiles(tiles, sort="label", descending=True)
    assert tiles.iloc[order].label.isna().to_numpy()[-52:].all()  # what is missing is last both ways
    same = order[: (tiles.label == "even").sum()]
    assert list(same) == sorted(same)  # equals keep the order of the table
    mixed = pd.DataFrame({"m": [2, "b", None, True]})
    assert list(find_tiles(mixed, sort="m"))[-1] == 2 and list(find_tiles(mixed, {"m": "2"})) == [0]
    nullable = pd.DataFrame({"n": pd.array([1, None, 3], "Int64"), "b": pd.array([True, None, False], "boolean")})
    assert list(find_tiles(nullable, {"n": (0, None)})) == [0, 2] and list(find_tiles(nullable, {"b": False})) == [2]


@pytest.mark.parametrize("filters", [{"nothing": 1}, {"label": (0, 1)}, {"tissue": ("a", None)}, {"tissue": (1, 2, 3)}])
def test_find_refuses(tiles, filters):
    with pytest.raises(InputError):
        find_tiles(tiles, filters)


def test_corrections(tiles):
    before = tiles.copy()
    c = Corrections(tiles)
    assert c.relabel([0, 5, 5], "Cafe\u0301") == 2 and c.last == "2 tiles labelled Caf\u00e9"
    assert c.reject([5]) == 1 and c.reject([]) == 0 and c.last == "1 tile rejected"
    assert c.table.iloc[[0, 5]][["label", "label_source"]].to_numpy().tolist() == [["Caf\u00e9", "corrected"]] * 2
    assert list(np.flatnonzero(c.table.rejected)) == [5]
    assert list(c.undo()) == [5] and list(c.undo()) == [0, 5] and list(c.undo()) == [] and c.last == ""
    assert tiles.equals(before) and c.table[tiles.columns].label.equals(tiles.label.astype("str"))
    assert c.table.columns.tolist() == [*tiles.columns, "label_source", "rejected"]


@pytest.mark.parametrize("dtype", ["category", "object", "str"])
def test_corrections_take_any_label(tiles, dtype):
    c = Corrections(tiles.assign(label=tiles.label.astype(dtype), rejected=tiles.tissue > 0.5))
    c.relabel([1], "never seen")
    assert c.table.label.iloc[1] == "never seen" and c.table.label.isna().sum() == tiles.label.isna().sum() - pd.isna(tiles.label.iloc[1])
    assert c.table.rejected.equals(tiles.tissue > 0.5)
    again = Corrections(c.table)
    assert again.table.equals(c.table)


def test_thumbnails(tiles, slides):
    made = Thumbnails(tiles, slides)
    try:
        pictures = made(range(360), 16)
        seen = np.array([decoded(pictures[i]).mean((0, 1)) for i in range(360)])
        assert np.abs(seen - colors_of(tiles)).max() < 4
        assert made([7], 16)[7] is pictures[7] and decoded(made([7], 8)[7]).shape == (8, 8, 3)
        order = tiles.iloc[made.in_order(range(360))]
        assert list(order.slide_id.drop_duplicates()) == list(tiles.slide_id.drop_duplicates())
        assert all(own.y.is_monotonic_increasing for _, own in order.groupby("slide_id"))
    finally:
        made.close()


def test_thumbnails_of_a_lost_slide(tiles, slides, tmp_path):
    "One slide is away and one is damaged: their tiles bring an error, the third's a picture."
    (tmp_path / "bad.tif").write_bytes(b"II*\0nothing")
    made = Thumbnails(tiles, slides.assign(path=[str(tmp_path / "away.svs"), str(tmp_path / "bad.tif"), slides.path[2]]))
    pictures = made(range(40), 16)
    for i, slide_id in enumerate(tiles.slide_id[:40]):
        assert isinstance(pictures[i], bytes if slide_id == "three" else InputError)
    made.close()


def test_few_slides_stay_open(tiles, slides):
    many = pd.concat([slides.assign(slide_id=slides.slide_id + str(i)) for i in range(4)])
    far = pd.concat([tiles.assign(slide_id=tiles.slide_id + str(i)) for i in range(4)])
    made = Thumbnails(far, many)
    made(range(0, len(far), 40), 16)
    assert len(made._open) == OPEN_SLIDES
    made.close()
    assert not made._open


def test_pages(browser, tiles):
    sheet = browser.widget.sheet
    assert (browser.page, browser.pages, sheet["count"], sheet["total"], len(sheet["tiles"])) == (1, 15, 360, 360, 25)
    assert sheet["next"] == list(range(25, 50)) and sorted(sheet["order"]) == list(range(25))
    browser.page = 99
    assert browser.page == 15 and len(browser.widget.sheet["tiles"]) == 10 and browser.widget.sheet["next"] == []
    browser.widget.page = -3  # as a browser might
    assert browser.page == 1 and browser.widget.sheet["first"] == 0
    browser.page = 3
    assert browser.filter(slide_id="three", split="train", tissue=(None, 0.1)) == 13 and browser.page == browser.pages == 1
    assert browser.widget.filters == {"slide_id": "three", "split": "train", "tissue": [None, 0.1]}
    browser.sort("tissue", descending=True)
    assert browser.found.tissue.is_monotonic_decreasing and browser.widget.sheet["tiles"][0]["extra"] == "0.100"
    assert browser.filter(slide_label="p q", laboratory="lab") == 360
    assert browser.filter(slide_id="nowhere") == 0 and browser.widget.sheet["tiles"] == [] and len(browser.found) == 0
    with pytest.raises(InputError, match="no column"):
        browser.filter(nothing=1)
    assert browser.filter() == 360


def test_odd_columns(tiles, slides):
    "Numbers without end, nothing but gaps, numbers as names, lists, missing booleans: shown, and sent as JSON knows it."
    odd = tiles.assign(big=np.inf, gap=np.nan, lists=[[1, 2]] * 360, maybe=pd.array([True, None] * 180, "boolean"), **{"with space": 1e9})
    odd[7] = "seven"
    with TileBrowser(odd, slides) as browser:
        about = {c["name"]: c for c in browser.widget.columns}
        assert about["big"]["ends"] == about["gap"]["ends"] == [None, None] and 7 not in about
        json.dumps([browser.widget.columns, browser.widget.sheet], allow_nan=False)
        assert browser.filter(tissue=(-np.inf, np.nan), maybe=True, **{"with space": (1, None)}) == 180
        assert browser.widget.filters["tissue"] == [None, None]
        assert browser.filter(maybe=None) == 180


def test_wishes_of_the_browser_that_cannot_be_met(browser):
    browser.widget.filters = {"label": [0, 1]}
    assert "range" in browser.error
    browser.widget.filters = {}
    assert browser.error == "" and len(browser.found) == 360
    say(browser, "dance")
    assert "dance" in browser.error
    say(browser, "relabel", name="x", keys=None)
    assert "no tile is selected" in browser.error
    say(browser, "relabel", name="  ", keys=[1])
    assert "name" in browser.error


def test_pictures_are_sent(browser, tiles, slides):
    say(browser, "pictures", keys=[3, 1], px=16, view="v", number=9)
    ((answer, data),) = browser.sent
    assert answer == {"type": "pictures", "px": 16, "view": "v", "number": 9, "keys": [3, 1], "wrong": {}}
    assert np.abs([decoded(d).mean((0, 1)) for d in data] - colors_of(tiles.iloc[[3, 1]])).max() < 4


def test_selection_and_corrections(browser, tiles):
    say(browser, "select", on=[2, 3, 200], off=[], view="v", number=1)
    assert browser.selected.index.tolist() == [1002, 1003, 1200]
    assert browser.widget.selection == {"keys": [2, 3], "total": 3, "view": "v", "number": 1}
    say(browser, "select", on=[], off=[3], view="v", number=2)
    say(browser, "relabel", name="new", keys=None)
    table = browser.table
    assert table.index[table.label_source == "corrected"].tolist() == [1002, 1200]
    assert browser.widget.undo == "2 tiles labelled new"
    assert browser.widget.message == "2 tiles labelled new; in all 0 rejected, 2 relabelled"
    assert ["new"] == [name for name, _ in browser.widget.classes][-1:]
    assert browser.widget.sheet["tiles"][2]["label"] == "new" and browser.widget.sheet["tiles"][2]["corrected"]
    say(browser, "reject", keys=[0])
    assert browser.table.index[browser.table.rejected].tolist() == [1000] and browser.widget.sheet["tiles"][0]["rejected"]
    say(browser, "restore", keys=[0])
    say(browser, "undo")
    say(browser, "undo")
    say(browser, "undo")
    assert browser.table[tiles.columns].label.equals(tiles.label.astype("str")) and browser.widget.undo == ""
    say(browser, "undo")
    assert browser.error == "" and "nothing" in browser.widget.message
    browser.selected = browser.table.tissue < 0.1
    assert len(browser.selected) == (tiles.tissue < 0.1).sum()
    browser.selected = browser.found.iloc[:4]
    assert browser.selected.index.tolist() == [1000, 1001, 1002, 1003]
    browser.filter(label="even")
    say(browser, "clear", view="v", number=3)
    say(browser, "select found", view="v", number=4)
    assert len(browser.selected) == (tiles.label == "even").sum()
    with pytest.raises(InputError, match="no tile 5"):
        browser.selected = [5]


def test_order_stays_while_correcting(browser):
    browser.filter(rejected=False, label="even")
    first = browser.found.index[:5]
    browser.reject(first)
    browser.relabel("odd", first[:2])
    assert list(browser.found.index[:5]) == list(first) and browser.widget.stale
    say(browser, "refresh")
    assert not set(first) & set(browser.found.index) and not browser.widget.stale
    values = {c["name"]: c.get("values") for c in browser.widget.columns}
    assert "odd" in values["label"] and "corrected" in values["label_source"] and values["rejected"] == ["False", "True"]


def test_rows_named_twice(tiles, slides):
    double = tiles.set_axis([0] * len(tiles))
    with TileBrowser(double, slides) as browser:
        browser.filter(split="test")
        browser.selected = np.arange(360) < 3
        browser.reject()
        assert browser.table.rejected.sum() == 3 and browser.table.index.equals(double.index)
        with pytest.raises(InputError, match="twice"):
            browser.reject([0])


def test_pick_and_viewer(browser, tiles, slides):
    seen = []
    browser.on_pick(seen.append)
    say(browser, "pick", key=4)
    assert seen[0].equals(browser.picked) and browser.picked.name == 1004
    slide = slides.set_index("slide_id").path[tiles.slide_id.iloc[4]]
    with SlideViewer(slide) as viewer:
        browser.viewer = viewer
        say(browser, "pick", key=4)
        assert viewer.picked.name == 1004 and viewer.view[:2] == (tiles.x.iloc[4] + 10, tiles.y.iloc[4] + 10)
        other = int(np.flatnonzero(tiles.slide_id != tiles.slide_id.iloc[4])[0])
        say(browser, "pick", key=other)
        assert "the viewer shows" in browser.widget.message and viewer.picked.name == 1004 and browser.picked.name == 1000 + other
    browser.viewer = None
    browser.on_pick(lambda row: [][1])
    say(browser, "pick", key=1)
    assert "IndexError" in browser.error


def test_picture(browser, tiles):
    browser.selected = [1001]
    browser.reject([1002])
    picture = np.asarray(browser.picture(), dtype=float)
    first = picture[40:52, 20:32].mean((0, 1))
    assert np.abs(first - colors_of(tiles.iloc[[0]])[0]).max() < 6
    browser.filter(slide_id="nowhere")
    assert browser.picture().mode == "RGB"


@pytest.mark.parametrize(
    "change, say",
    [
        (lambda t, s: (t.drop(columns="x"), s), "no column 'x'"),
        (lambda t, s: (t, s.drop(columns="path")), "no column 'path'"),
        (lambda t, s: (t, s[:1]), "does not have"),
        (lambda t, s: (t, pd.concat([s, s])), "twice"),
    ],
)
def test_wrong_tables(tiles, slides, change, say):
    with pytest.raises(InputError, match=say):
        TileBrowser(*change(tiles, slides))


@pytest.mark.parametrize("options", [{"px": 8}, {"per_page": 0}, {"per_page": 1000}])
def test_wrong_sizes(tiles, slides, options):
    with pytest.raises(InputError, match="px must be"):
        TileBrowser(tiles, slides, **options)


def test_no_tiles_at_all(tiles, slides):
    with TileBrowser(tiles[:0], slides) as browser:
        assert browser.pages == 1 and len(browser.table) == 0 and browser.picture()


def test_close_gives_back(tiles, slides):
    psutil = pytest.importorskip("psutil")
    own, threads = psutil.Process(), threading.active_count()
    files = len(own.open_files())
    for _ in range(10):
        with TileBrowser(tiles, slides) as browser:
            browser.picture()
    assert len(own.open_files()) == files and threading.active_count() == threads


def test_two_threads(tiles, slides):
    "Pictures asked for by two threads at once, with slides coming and going, are right."
    with TileBrowser(tiles, slides, px=16) as browser:
        wrong = []

        def ask(seed):
            for key in np.random.default_rng(seed).integers(360, size=40).tolist():
                seen = decoded(browser._thumbnails([key], 16)[key]).mean((0, 1))
                wrong.append(np.abs(seen - colors_of(tiles.iloc[[key]])[0]).max() > 4)
                browser.reject([1000 + key])

        both = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
        [t.start() for t in both]
        [t.join() for t in both]
        assert len(wrong) == 120 and not any(wrong)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1_small.svs"])
def test_real_slides(real, name):
    "A thumbnail at the slide's own scale is the JPEG of what OpenSlide reads there."
    tiles = pd.DataFrame({"slide_id": "s", "x": [512, 1000], "y": [768, 700], "size": 96})
    with TileBrowser(tiles, pd.DataFrame({"slide_id": ["s"], "path": [str(real / "slides" / name)]})) as browser:
        made = browser._thumbnails([0, 1], 96)
    with open_slide(real / "slides" / name) as slide:
        for i, tile in enumerate(tiles.itertuples()):
            truth = io.BytesIO()
            slide._file.read_region((tile.x, tile.y), 0, (96, 96)).convert("RGB").save(truth, "JPEG", quality=85, subsampling=0)
            assert (decoded(made[i]) == decoded(truth.getvalue())).all()


CELL = """import pandas as pd
from deepslide_nb.tile_browser import TileBrowser
browser = TileBrowser(pd.read_json("tiles.json"), pd.read_json("slides.json"), px=64, per_page=24)
browser"""


def test_in_jupyterlab(chromium, tiles, slides, tmp_path):
    "Looked through, filtered, selected and corrected by mouse and by keyboard; read back in Python."
    tiles.reset_index(drop=True).to_json(tmp_path / "tiles.json")
    slides.to_json(tmp_path / "slides.json")
    shots = os.environ.get("DEEPSLIDE_SHOTS", tmp_path)
    lab.write_notebook(tmp_path / "n.ipynb", [CELL])
    with lab.jupyterlab(tmp_path) as address, lab.chromium(chromium) as page:
        lab.open_notebook(page, address, "n.ipynb")
        root = page.locator(".dsnb-browser")
        root.wait_for(timeout=60000)
        tell = lambda code: lab.in_kernel(page, code)  # noqa: E731
        until = lambda code, wanted: lab.wait_for(lambda: tell(f"print({code})") == wanted, 10, f"{code} == {wanted}")  # noqa: E731
        sheet, tile = root.get_by_role("listbox"), root.locator("[role=option]")
        whole = "() => [...document.querySelectorAll('.dsnb-tile .dsnb-frame img')].every((one) => one.complete && one.naturalWidth)"
        page.wait_for_function(whole)
        assert tile.count() == 24 and root.get_by_text("1–24 of 360 tiles").is_visible()

        # the picture of the first tile has its colour
        box = tile.nth(0).locator("img").bounding_box()
        clip = {"x": box["x"] + 25, "y": box["y"] + 25, "width": 8, "height": 8}
        shot = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB"), dtype=float).mean((0, 1))
        assert np.abs(shot - colors_of(tiles.iloc[[0]])[0]).max() < 6

        # by keyboard: click once, then select three, label them, reject one, undo it
        tile.nth(1).click()
        until("browser.picked.name", "1")
        assert tile.nth(1).get_attribute("id") == sheet.get_attribute("aria-activedescendant")
        for key in ("ArrowRight", "Space", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowLeft"):
            page.keyboard.press(key)
        until("browser.selected.index.tolist()", "[2, 3, 4]")
        assert [t.get_attribute("aria-selected") for t in tile.all()[:6]] == ["false", "false", "true", "true", "true", "false"]
        page.keyboard.press("1")
        until("browser.table.label[browser.table.label_source == 'corrected'].tolist()", str(["Tümor <i>"] * 3))
        for key in ("Escape", "ArrowRight", "x"):  # at once: the key knows that nothing is selected any more
            page.keyboard.press(key)
        until("browser.table.index[browser.table.rejected].tolist()", "[5]")
        page.locator(".dsnb-rejected").wait_for()
        assert "rejected" in tile.nth(5).get_attribute("aria-label")
        page.keyboard.press("Control+z")
        until("browser.table.rejected.sum()", "0")
        page.keyboard.press("End")
        page.keyboard.press("ArrowRight")  # on to the next page
        until("browser.page", "2")
        page.keyboard.press("PageDown")
        root.get_by_text("49–72 of 360 tiles", exact=True).wait_for()
        page.keyboard.press("Control+a")
        until("browser.selected.index.tolist() == list(range(48, 72))", "True")
        page.keyboard.press("Enter")
        until("browser.picked.name", "48")

        # by mouse: filters, sorting, selection by the corner and with Shift, a new class, rejection
        root.get_by_role("button", name="select nothing").click()
        root.get_by_label("filter by slide id").select_option("<b>ü</b>")
        root.get_by_label("least tissue").fill("0.5")
        page.keyboard.press("Escape")
        assert sheet.evaluate("one => one === document.activeElement")
        until("len(browser.found)", "60")
        assert tell("print(set(browser.found.slide_id), browser.found.tissue.min())") == "{'<b>ü</b>'} 0.5"
        root.get_by_label("sort by").select_option("tissue")
        until("browser.found.tissue.is_monotonic_increasing", "True")
        root.get_by_role("button", name="sorted rising").click()
        until("browser.found.tissue.is_monotonic_decreasing", "True")
        page.wait_for_function(whole)
        tile.nth(0).locator(".dsnb-tick").click()
        tile.nth(2).click(modifiers=["Shift"])
        until("browser.selected.index.tolist() == sorted(browser.found.index[:3])", "True")
        root.get_by_label("name of a class").press_sequentially("<fold> é")
        root.get_by_role("button", name="give the class in the field").click()
        root.get_by_role("button", name="label as <fold> é, key").wait_for()
        root.get_by_role("button", name="reject, key X").click()
        until("browser.table.query('rejected').label.tolist()", str(["<fold> é"] * 3))
        root.get_by_label("filter by another column").select_option("laboratory")
        root.get_by_label("filter by laboratory").select_option("lab")
        until("sorted(browser.widget.filters)", "['laboratory', 'slide_id', 'tissue']")
        lab.check_accessible(page, ".dsnb-browser")
        root.screenshot(path=os.path.join(shots, "tile_browser.png"))

        # errors are seen; what Python sets is seen; a narrow window; nothing said in the console
        tell("browser.on_pick(lambda row: 1 / 0)")
        tile.nth(3).click()
        root.get_by_role("alert").filter(has_text="division by zero").wait_for()
        tell("browser.filter(slide_id='three', tissue=(0.2, 0.4)); browser.selected = browser.found.iloc[:2]")
        page.wait_for_function("() => document.querySelectorAll('.dsnb-tile[aria-selected=true]').length === 2")
        assert root.get_by_label("most tissue").input_value() == "0.4"
        assert root.get_by_label("filter by slide id").locator("option:checked").inner_text() == "three"
        page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
        page.set_viewport_size({"width": 620, "height": 1600})
        lab.wait_for(lambda: root.bounding_box()["width"] < 510, 30, "a narrow widget")
        lab.check_accessible(page, ".dsnb-browser")
        assert page.evaluate("() => { const b = document.querySelector('.dsnb-browser'); return b.scrollWidth <= b.clientWidth; }")
        root.screenshot(path=os.path.join(shots, "tile_browser_narrow.png"))
        tell("browser.filter(slide_id='nowhere')")
        root.get_by_text("No tile fits these filters.").wait_for()
        lab.check_accessible(page, ".dsnb-browser")
        assert not [t for t in page.said if "dsnb" in t or "browser" in t], page.said
