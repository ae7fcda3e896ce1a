"The prediction browser: its tables, its state, its thread, and the whole of it in JupyterLab."
import io
import json
import os
import shutil
import threading
import time
from pathlib import Path

import lab
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepslide_nb import widgets
from deepslide_nb.widgets import (
    METHODS,
    PredictionBrowser,
    filter_slides,
    galleries,
    run_tables,
    slide_list,
)
from deepslide_nb.settings import InputError

SLIDES = pd.DataFrame({"slide_id": ["a/1", "b <i>", "c", "d"], "path": "x", "label": ["t", "n", "t", None], "split": ["test", "test", "valid", "test"]})
BY_SLIDE = pd.DataFrame({"slide_id": ["a/1", "b <i>", "c", "d"], "method": "average", "predicted": ["t", "t", None, "n"], "prob_n": [0.1, 0.4, np.nan, 0.8],
                         "prob_t": [0.9, 0.6, np.nan, 0.2], "n_tiles": [9, 8, 0, 7]})  # fmt: skip


def test_slide_list():
    before = BY_SLIDE.copy(), SLIDES.copy()
    made = slide_list(BY_SLIDE, SLIDES)
    assert made.right.tolist() == [True, False, False, None], "without evidence it is wrong, without a truth nobody knows"
    assert made.confidence.tolist()[:2] == [0.9, 0.6] and np.isnan(made.confidence[2])
    assert BY_SLIDE.equals(before[0]) and SLIDES.equals(before[1])
    assert slide_list(BY_SLIDE, SLIDES[["slide_id", "path"]]).right.isna().all()
    with pytest.raises(InputError, match="'d'"):
        slide_list(BY_SLIDE, SLIDES.head(3))


def test_filter():
    table = slide_list(BY_SLIDE, SLIDES)
    ids = lambda **k: filter_slides(table, **k).slide_id.tolist()  # noqa: E731
    assert ids(show="wrong") == ["b <i>", "c"]
    assert ids(show="unsure", unsure=0.7) == ["b <i>", "c"], "no evidence is as unsure as can be"
    assert ids(split="test", name="t") == ["a/1", "b <i>"]
    assert ids(name="n") == ["b <i>", "d"]
    assert ids(sort="confidence") == ["b <i>", "d", "a/1", "c"] and ids(sort="n_tiles", descending=True)[0] == "a/1"


def test_galleries():
    tiles = pd.DataFrame({"slide_id": "a", "x": range(0, 400, 10), "y": 0, "size": 10, "prob_n": np.linspace(0, 1, 40), "label": "n"})
    tiles["prob_t"] = 1 - tiles.prob_n
    attention = tiles[["slide_id", "x", "y", "size"]].assign(gated=np.arange(40) / 780).iloc[::-1]
    made = galleries(tiles, attention)
    assert list(made) == ["most surely n", "most surely t", "least sure", "most wrong", "highest gated"]
    assert made["most surely n"].x.iloc[0] == 390 and made["most surely t"].x.iloc[0] == 0
    assert made["most wrong"].x.iloc[0] == 0 and set(made["most wrong"].predicted) == {"t"}
    assert made["highest gated"].x.tolist()[:2] == [390, 380] and made["highest gated"].index[0] == 39
    assert galleries(tiles.rename_axis("tile"), attention)["highest gated"].index[0] == 39
    assert galleries(tiles.head(0)) == {} and "most wrong" not in galleries(tiles.drop(columns="label"))


@pytest.fixture
def made(every_run):
    with PredictionBrowser.of_run(every_run) as one:
        yield one


def test_of_run(made, every_run):
    assert made.picked_slide is None and made.picked_tile is None and made.viewer is None
    methods = json.loads((every_run / "settings.json").read_text())["aggregation"]
    (control,) = [c for c in made.list.controls if c["name"] == "method"]
    assert [value for value, _ in control["options"]] == methods
    assert len(made.table) == len(made.list.section("slides")["rows"]) > 3
    made.list.set(show="wrong", method="svm")
    wrong = made.by_slide[made.by_slide.method == "svm"].merge(made.slides[["slide_id", "label"]], on="slide_id", suffixes=("", "_true"))
    assert set(made.table.slide_id) == set(wrong.slide_id[wrong.predicted != wrong.label_true])
    assert "right" in made.list.section("slides")["title"]
    for folder in (every_run / "model", "nowhere"):
        with pytest.raises(InputError, match="finished run"):
            PredictionBrowser.of_run(folder)


def test_pick(made):
    first, second = made.table.slide_id[:2]
    made.picked_slide = first
    assert made.list.section("slides")["picked"] == 0 and made._place.children == (made.viewer.widget,)
    assert [s["name"] for s in made.pane.sections] == ["tiles"]
    (button,) = [c for c in made.pane.controls if c["name"] == "explain"]
    assert button["disabled"], "nothing to explain yet"
    made.pane.pick("tiles", 1)
    assert made.picked_tile.equals(made.viewer.picked) and made.pane.section("tiles")["picked"] == 1
    bars = {b["label"]: b["value"] for b in made.pane.section("probabilities")["bars"]}
    assert bars == {c: made.picked_tile[f"prob_{c}"] for c in made.classes}
    seen = np.asarray(Image.open(io.BytesIO(made.pane.section("picture")["data"])), dtype=int)
    tile = made.picked_tile
    assert np.abs(seen - made.viewer.slide.read(tile.x, tile.y, tile["size"], 32)).max() == 0, "at the network's scale"
    assert not [c for c in made.pane.controls if c["name"] == "explain"][0]["disabled"]
    made.pane.set(gallery="least sure")
    assert made.pane.section("tiles")["title"] == "least sure" and made.picked_tile.equals(tile)
    made.picked_tile = {"x": 0, "y": 0, "size": 32}
    assert (made.picked_tile.x, made.picked_tile.y) == (0, 0)
    with pytest.raises(InputError, match="no tile"):
        made.picked_tile = {"x": 9000, "y": 0, "size": 32}
    made.picked_tile = None
    assert made.picked_tile is None and len(made.pane.sections) == 1
    viewer = made.viewer
    made.list.pick("slides", 1)
    assert made.picked_slide == second and made.viewer is not viewer and made.picked_tile is None
    made.list.set(sort="slide_id", descending=True)
    assert made.table.slide_id.iloc[made.list.section("slides")["picked"]] == second
    made.picked_slide = None
    assert made.viewer is None and made._place.children == ()


def test_a_slide_that_cannot_be_read(made, every_run, tmp_path):
    first = made.table.slide_id.iloc[0]
    made.picked_slide = first
    made.slides = made.slides.assign(path=made.slides.path.where(made.slides.slide_id == first, str(tmp_path / "gone.svs")))
    made.list.pick("slides", 1)
    assert "gone.svs" in made.list.error and made.picked_slide == first and made.list.section("slides")["picked"] == 0
    with pytest.raises(InputError, match="there is no slide 'x'"):
        made.picked_slide = "x"
    made.list.pick("slides", 0)
    assert made.list.error == ""


def test_explain(made):
    with pytest.raises(InputError, match="pick a tile"):
        made.explain()
    made.picked_slide = made.table.slide_id.iloc[0]
    made.picked_tile = made._galleries["least sure"].iloc[0]
    for method in ("Grad-CAM", "LIME"):
        made.explain(method, "busy")
        made._worker.join(60)
        assert made.pane.error == "" and made.explained["method"] == method and made.explained["target"] == "busy"
        assert made.explained["values"].shape == (32, 32)
        section = made.pane.section("explanation")
        assert section["kind"] == "picture" and Image.open(io.BytesIO(section["data"])).format == "PNG"
    made.pane.set(target="", method=METHODS[0])
    made.pane.press("explain")
    made._worker.join(60)
    assert made.explained["target"] == max(made.classes, key=lambda c: made.picked_tile[f"prob_{c}"])
    with pytest.raises(InputError, match="choose one of"):
        made.explain("Guess")


def test_an_explanation_nobody_waits_for(made, monkeypatch):
    "Another tile is picked while the network works: it gives up, and its answer is never shown."
    working, ended = threading.Event(), []

    def slow(model, meta, pixels, target, method, told):
        try:
            for seen in range(1, 2000):
                told(seen)
                working.set()
                time.sleep(0.01)
            return np.zeros((2, 2)), "too late"
        except BaseException as e:
            ended.append(type(e).__name__)
            raise

    monkeypatch.setattr(widgets, "explain_tile", slow)
    made.picked_slide = made.table.slide_id.iloc[0]
    tiles = made._galleries["least sure"]
    made.picked_tile = tiles.iloc[0]
    made.explain("LIME")
    assert working.wait(60)
    assert "versions" in made.pane.section("explanation")["text"]
    made.picked_tile = tiles.iloc[1]
    made._worker.join(10)
    assert ended == ["GivenUp"] and made.explained is None and made.pane.error == ""
    assert made.pane.section("explanation")["text"].startswith("Press")
    monkeypatch.setattr(widgets, "explain_tile", lambda *_: 1 / 0)
    made.explain()
    made._worker.join(10)
    assert "ZeroDivisionError" in made.pane.error


def test_without_network_attention_or_labels(tiny_run):
    tables = run_tables(tiny_run)
    slides = tables["slides"][["slide_id", "path", "mpp"]]
    predictions = tables["predictions"].drop(columns="label")
    alone = predictions[predictions.slide_id == predictions.slide_id.iloc[0]]
    by_slide = tables["by_slide"][tables["by_slide"].method == "majority"]
    with PredictionBrowser(alone, by_slide, slides) as made:
        assert {"split", "method"}.isdisjoint(c["name"] for c in made.list.controls)
        made.picked_slide = alone.slide_id.iloc[0]
        assert [c["name"] for c in made.pane.controls] == ["gallery"] and "most wrong" not in made._galleries
        made.pane.pick("tiles", 0)
        assert "No network" in made.pane.section("explanation")["text"]
        with pytest.raises(InputError, match="model_folder"):
            made.explain()
        made.picked_slide = made.table.slide_id.iloc[1]
        assert "no predictions" in made.pane.sections[0]["text"]
        made.viewer.pick(5, 5)
    with pytest.raises(InputError, match="'path'"):
        PredictionBrowser(predictions, tables["by_slide"], slides[["slide_id"]])


def test_leaves_nothing(tiny_run):
    "Opened and closed ten times, in the middle of its work: no file and no thread stays."
    psutil = pytest.importorskip("psutil")
    own, before = psutil.Process(), set(threading.enumerate())
    files = len(own.open_files())
    for _ in range(10):
        with PredictionBrowser.of_run(tiny_run) as made:
            for slide_id in made.table.slide_id[:3]:
                made.picked_slide = slide_id
            made.picked_tile = made._galleries["least sure"].iloc[0]
            made.explain("LIME")
    assert len(own.open_files()) == files
    assert not [t for t in set(threading.enumerate()) - before if t.name.startswith(("tiles", "slides", "explanation"))]


def test_picture(made):
    assert made.picture().size[0] > 600
    made.picked_slide = made.table.slide_id.iloc[0]
    assert len(np.unique(np.asarray(made.picture()).reshape(-1, 3), axis=0)) > 500


CELL = """from deepslide_nb.widgets import PredictionBrowser
b = PredictionBrowser.of_run("run")
b"""


def test_in_jupyterlab(chromium, every_run, tmp_path):
    "Filtered, a slide and a tile picked by mouse and by keyboard, explained; read back in Python; accessible; errors seen."
    shutil.copytree(every_run, tmp_path / "run", ignore=shutil.ignore_patterns("work", "figures"))
    lab.write_notebook(tmp_path / "n.ipynb", [CELL])
    with lab.jupyterlab(tmp_path) as address, lab.chromium(chromium) as page:
        page.set_viewport_size({"width": 1280, "height": 1700})
        asked = []
        page.on("request", lambda r: asked.append(r.url))
        lab.open_notebook(page, address, "n.ipynb")
        rows = page.get_by_role("grid").locator("tbody tr")
        rows.first.wait_for(timeout=60000)
        tell = lambda code: lab.in_kernel(page, code)  # noqa: E731
        count = rows.count()

        # the list: filtered and sorted by the controls
        page.get_by_label("Truth or prediction").select_option("is busy")
        lab.wait_for(lambda: rows.count() < count, 30, "fewer slides")
        assert tell("print(len(b.table))") == str(rows.count())
        page.get_by_label("Truth or prediction").select_option("all")
        lab.wait_for(lambda: rows.count() == count, 30, "all slides")

        # a slide by keyboard, another by mouse
        rows.first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        second, third = (tell(f"print(b.table.slide_id.iloc[{i}])") for i in (1, 2))
        lab.wait_for(lambda: tell("print(b.picked_slide)") == second, 30, "the second slide")
        page.locator(".dsnb-stage").wait_for(timeout=20000)
        rows.nth(2).click()
        lab.wait_for(lambda: tell("print(b.picked_slide)") == third, 30, "the third slide")
        page.get_by_role("heading", name=f"Tiles of {third}").or_(page.locator(".dsnb-title", has_text=third)).first.wait_for(timeout=30000)
        assert page.locator(".dsnb-stage").count() == 1, "one viewer at a time"

        # a tile by keyboard and by mouse, from the gallery and on the slide
        tiles = page.locator(".dsnb-gallery li")
        tiles.first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        place = "print(*b.picked_tile[['x', 'y']]) if b.picked_tile is not None else print('-')"
        want = tell("print(*b._galleries[b.pane.values['gallery']].iloc[1][['x', 'y']])")
        lab.wait_for(lambda: tell(place) == want, 30, "the second tile")
        page.locator(".dsnb-is-bars").wait_for(timeout=30000)
        lab.wait_for(lambda: tiles.nth(1).get_attribute("aria-selected") == "true", 30, "the mark in the gallery")
        page.get_by_label("Tiles that are").select_option("least sure")
        lab.wait_for(lambda: page.locator(".dsnb-section h4", has_text="least sure").count() == 1, 30, "the other gallery")
        tiles.nth(2).click()
        want = tell("print(*b._galleries['least sure'].iloc[2][['x', 'y']])")
        lab.wait_for(lambda: tell(place) == want, 30, "the third tile")
        page.wait_for_timeout(1000)
        box = page.locator(".dsnb-stage").bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        lab.wait_for(lambda: tell(place) == want, 30, "the same tile, by a click on the slide")

        # an explanation, by keyboard
        page.get_by_label("What spoke for").select_option("is busy")
        page.get_by_role("button", name="Explain the tile").focus()
        page.keyboard.press("Enter")
        page.get_by_alt_text("map of Grad-CAM").wait_for(timeout=60000)
        assert tell("print(b.explained['method'], b.explained['target'])") == "Grad-CAM busy"
        lab.check_accessible(page, ".jp-OutputArea-output .jupyter-widgets")
        page.screenshot(path=Path(os.environ.get("DEEPSLIDE_SHOTS", tmp_path)) / "prediction_browser.png")
        page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
        page.set_viewport_size({"width": 500, "height": 2300})
        page.wait_for_timeout(1000)
        page.screenshot(path=Path(os.environ.get("DEEPSLIDE_SHOTS", tmp_path)) / "prediction_browser_500.png")
        wide = page.evaluate("() => [...document.querySelectorAll('.dsnb')].map((one) => one.scrollWidth - one.clientWidth)")
        assert max(wide) <= 2, f"nothing sticks out at 500 px: {wide}"

        # what fails is seen
        tell("b.list.on_change(lambda changed: 1 / 0)")
        page.get_by_label("the greatest first").check()
        page.get_by_role("alert").filter(has_text="division by zero").wait_for(timeout=30000)
        assert not [u for u in asked if not u.startswith((address, "data:", "blob:"))]
        assert not [t for t in page.said if "dsnb" in t], page.said
