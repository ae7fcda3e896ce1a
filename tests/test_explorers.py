"The explorers: a panel's values, sections and picks, what they compute, and the whole of them in JupyterLab."
import os
import threading
import time

import lab
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepslide_nb.aggregation import METHODS, average_probability, threshold_vote
from deepslide_nb.evaluation import scores
from deepslide_nb.explorers import AggregationExplorer, Panel, TissueTuner
from deepslide_nb.settings import InputError, load_settings
from deepslide_nb.slides import open_slide
from deepslide_nb.tiles import slide_tiles
from deepslide_nb.tissue import blur_mask, otsu_mask, tissue_mask

CONTROLS = [
    {"name": "share", "kind": "range", "min": 0, "max": 1, "step": 0.05, "value": 0.5, "label": "Least share", "unit": "of 1"},
    {"name": "least", "kind": "number", "min": 1, "max": 20, "step": 1, "value": 5, "help": "tiles of a slide"},
    {"name": "find", "kind": "text", "label": "Name holds"},
    {"name": "how", "kind": "select", "options": [["a", "average"], ["m", "majority"]], "group": "Rule"},
    {"name": "rule", "kind": "radio", "options": ["all", "each <b>"], "group": "Rule"},
    {"name": "pen", "kind": "check", "value": True, "color": "#0072B2"},
    {"name": "pin it", "kind": "button"},
]
ROWS = [[f"slide {i}", {"text": "a", "color": "#0072B2"}, f"0.{i}"] for i in range(30)]
SECTIONS = [
    {"name": "slides", "kind": "table", "columns": ["slide", "class", "sure"], "rows": ROWS, "numeric": [2], "selectable": True,
     "marks": [None, "wrong", "changed"] + [None] * 27},
    {"name": "matrix", "kind": "table", "columns": ["truth", "<i>"], "rows": [["x", {"text": "3", "shade": 0.9}], ["y", {"text": "1", "shade": 0.2}]],
     "row_heads": True, "title": "Confusion"},
    {"name": "scores", "kind": "numbers", "numbers": [{"label": "accuracy", "value": "0.91", "note": "+0.02"}]},
    {"name": "classes", "kind": "bars", "bars": [{"label": "a", "value": 0.3, "color": "#D55E00", "text": "30 %"}]},
    {"name": "note", "kind": "text", "text": "<script>no</script>", "tone": "warning"},
    {"name": "roc", "kind": "curves", "alt": "ROC curve of a, area 0.9", "x": "false", "y": "true",
     "lines": [{"name": "a", "color": "#0072B2", "points": [[0, 0], [0.1, 0.8], [1, 1]], "at": [0.1, 0.8], "text": "a 0.90"}]},
]  # fmt: skip


@pytest.fixture
def panel():
    made = Panel(CONTROLS, height=200, title="Trial", sections=SECTIONS)
    yield made
    made.close()


def test_panel_values(panel):
    assert panel.values == {"share": 0.5, "least": 5, "find": "", "how": "a", "rule": "all", "pen": True}
    seen = []
    panel.on_change(seen.append)
    panel.set(least=7, how="m", pen=True)
    panel.values = {"share": 0.25}
    panel.set(share=0.25)
    assert seen == [{"least": 7, "how": "m"}, {"share": 0.25}] and panel.values["least"] == 7


@pytest.mark.parametrize(
    "wrong, says",
    [({"least": 21}, "1 to 20"), ({"least": "5"}, "1 to 20"), ({"how": "x"}, "one of a, m"), ({"nothing": 1}, "no control 'nothing'"),
     ({"pin it": 1}, "no control"), ({"share": float("nan")}, "0 to 1"), ({"least": True}, "1 to 20")],
)  # fmt: skip
def test_panel_refuses_values(panel, wrong, says):
    with pytest.raises(InputError, match=says):
        panel.set(**wrong)
    assert panel.values["least"] == 5 and panel.values["how"] == "a"


@pytest.mark.parametrize(
    "controls, says",
    [([{"name": "a"}], "kind out of"), ([{"name": 1, "kind": "range"}], "needs a name"), ([{"name": "a", "kind": "select"}], "options"),
     ([{"name": "a", "kind": "check"}] * 2, "two controls")],
)  # fmt: skip
def test_panel_refuses_controls(controls, says):
    with pytest.raises(InputError, match=says):
        Panel(controls)


@pytest.mark.parametrize(
    "section, says",
    [({"name": "a", "kind": "film"}, "kind out of"), ({"name": "a", "kind": "picture"}, "needs 'data'"),
     ({"name": "a", "kind": "table", "columns": ["x"], "rows": [["1", "2"]]}, "as long as")],
)  # fmt: skip
def test_panel_refuses_sections(section, says):
    with pytest.raises(InputError, match=says):
        Panel([], sections=[section])


def test_panel_new_controls(panel):
    panel.set(least=9, share=0.9)
    panel.controls = [{"name": "least", "kind": "number", "min": 1, "max": 30}, {"name": "share", "kind": "range", "min": 0, "max": 0.5},
                      {"name": "go", "kind": "button"}]  # fmt: skip
    assert panel.values == {"least": 9, "share": 0}


def test_panel_sends_what_changed(panel):
    "A new section's data goes without the others'."
    sent = []
    panel.send_state = lambda key=None: sent.append({key} if isinstance(key, str) else set(key))
    changed = [s | {"text": "new"} if s["name"] == "note" else dict(s) for s in SECTIONS]
    panel.sections = changed
    panel.section("scores", numbers=[])
    assert sent == [{"section_4"}, {"section_2"}]
    panel.sections = SECTIONS[:2]
    assert [s["name"] for s in panel.sections] == ["slides", "matrix"]
    with pytest.raises(InputError, match="no section 'roc'"):
        panel.section("roc")


def test_panel_events_and_errors(panel):
    seen = []
    panel.on_press("pin it", lambda: seen.append("pressed"))
    panel.on_pick(lambda section, row: seen.append((section, row)))
    panel._receive(panel, {"type": "press", "name": "pin it"}, [])
    panel._receive(panel, {"type": "pick", "section": "slides", "row": 2}, [])
    panel._receive(panel, {"type": "pick", "section": "slides", "row": 2}, [])
    assert seen == ["pressed", ("slides", 2), ("slides", 2)] and panel.picked == {"section": "slides", "row": 2}
    assert panel.section("slides")["picked"] == 2
    panel._receive(panel, {"type": "pick", "section": "slides", "row": 99}, [])
    assert "no row 99" in panel.error
    panel.on_press("pin it", lambda: {}["x"])
    panel.press("pin it")
    assert panel.error == "KeyError: 'x'"
    panel.pick("slides", 0)
    assert panel.error == ""
    with pytest.raises(InputError, match="no button"):
        panel.on_press("share", print)


def test_panel_in_two_threads(panel):
    "Callbacks of the browser's thread and the reader's do not run into each other."
    inside, most = [], []
    panel.on_change(lambda _: (inside.append(1), most.append(len(inside)), inside.pop()))
    threads = [threading.Thread(target=lambda k=k: [panel.set(least=1 + (i * k) % 20) for i in range(50)]) for k in (1, 3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert most and max(most) == 1 and panel.error == ""


# ---- the tissue filter -------------------------------------------------------------------------------------------------
def inked(w=1200, h=900):
    "uint8 (h, w, 3): white glass, a purple disc with fine grain, a blue stroke of a pen across its rim, a blurred half."
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:h, :w]
    pixels = np.full((h, w, 3), 244.0)
    disc = np.hypot(x - w / 2, y - h / 2) < 300
    grain = np.where(x < w / 2, 60 * rng.random((h, w)), 30 + 20 * np.sin(x / 30) * np.sin(y / 30))
    pixels[disc] = np.array((190, 110, 190)) - grain[disc][:, None]
    pixels[np.abs(y - 250 - x / 10) < 14] = (30, 70, 220)
    return np.clip(pixels + rng.normal(0, 1.5, pixels.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def ink(tmp_path_factory):
    path = tmp_path_factory.mktemp("ink") / "Schnitt <1>.png"
    Image.fromarray(inked()).save(path)
    return path


@pytest.fixture
def tuner(ink):
    with open_slide(ink, 0.5) as slide, TissueTuner(slide, tile_px=64) as made:
        yield made


def test_tuner_is_lesson_3(tuner):
    "The mask and the tiles are those that a run makes with the same settings."
    assert (tuner.mask == tissue_mask(tuner.slide)).all() and 0.05 < tuner.mask.mean() < 0.5
    assert tuner._pen.any() and tuner._blur.any()
    for values in ({}, {"tissue_min": 0.9, "overlap": 0.5}, {"tissue": "purple"}, {"tile_px": 96}, {"tissue": "none"}):
        tuner.values = values
        truth = slide_tiles(tuner.slide, "a", load_settings(**tuner.settings()))
        assert tuner.error == "" and (tuner.tiles.to_numpy() == truth[["x", "y", "size"]].to_numpy()).all(), values
        assert f"{len(truth)} of" in tuner.widget.section("numbers")["numbers"][-1]["value"]


def test_tuner_steps(tuner):
    "Each slider is the argument of lesson 3's function, and what does not depend on it is not computed again."
    rgb = tuner._steps.rgb
    tuner.values = {"pen": False, "blur": False, "lowest": 0.2, "highest": 0.4, "dark": 100}
    assert (tuner.mask == otsu_mask(rgb, 0.2, 0.4, 100)).all() and not tuner._pen.any()
    before = tuner._steps._kept["coloured"][1]
    tuner.values = {"blur": True, "sharp": 0.1}
    assert (tuner._blur == (before & blur_mask(rgb, 0.1))).all()
    assert tuner._steps._kept["coloured"][1] is before
    assert "A run takes lesson 3's own" in tuner.widget.section("lines for settings.ini")["note"]


def test_tuner_points(tuner, monkeypatch):
    "The threshold on the purple points reads no tile again."
    tuner.values = {"tissue": "purple", "points": 0}
    many = len(tuner.tiles)
    monkeypatch.setattr(tuner.slide, "read", None)
    tuner.values = {"points": 200}
    assert tuner.error == "" and 0 < len(tuner.tiles) < many


def test_tuner_without_scale(ink):
    with TissueTuner(ink) as tuner:
        assert tuner.error == "" and "mpp" in tuner.widget.section("lines for settings.ini")["note"] and not len(tuner.tiles)
        assert (tuner.mask == tissue_mask(tuner.slide)).all()
        tuner.values = {"tissue": "purple"}
        assert tuner.error == ""


def test_tuner_refuses(ink, tmp_path):
    with pytest.raises(InputError, match="no 'sharpnes'"):
        TissueTuner(ink, sharpnes=1)
    with pytest.raises(InputError, match="0 to 1"):
        TissueTuner(ink, tissue_min=7)
    with pytest.raises(InputError):
        TissueTuner(tmp_path / "none.svs")


def test_tuner_of_white(tmp_path):
    Image.new("RGB", (300, 200), "white").save(tmp_path / "white.png")
    with TissueTuner(tmp_path / "white.png") as tuner:
        assert tuner.error == "" and not tuner.mask.any()
        assert np.asarray(tuner.picture()).ndim == 3


def test_tuner_gives_back(ink):
    psutil = pytest.importorskip("psutil")
    own, threads = psutil.Process(), threading.active_count()
    files = len(own.open_files())
    for _ in range(5):
        TissueTuner(ink).close()
    assert len(own.open_files()) == files and threading.active_count() == threads


# ---- the rules ---------------------------------------------------------------------------------------------------------
CLASSES = ["acinar", "normal <b>", "solid"]


def cohort(n=24, split=True):
    table = pd.DataFrame({"slide_id": [f"S/{i}" for i in range(n)], "label": [CLASSES[i % 3] for i in range(n)]})
    return table.assign(split=np.where(np.arange(n) < 15, "valid", "test")) if split else table


def votes_of(slides, n=40, seed=0):
    rng, parts = np.random.default_rng(seed), []
    for row in slides.itertuples():
        strong = np.full(3, 0.3)
        strong[CLASSES.index(row.label)] += 0.7 * rng.random()
        parts.append(pd.DataFrame(rng.dirichlet(strong, n), columns=[f"prob_{c}" for c in CLASSES]).assign(slide_id=row.slide_id))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def explorer():
    slides = cohort()
    lost = slides.slide_id[2]  # a slide without tiles
    table = votes_of(slides)
    with AggregationExplorer(table[table.slide_id != lost], slides, "normal <b>") as made:
        made.given = table[table.slide_id != lost], slides
        yield made


def test_explorer_is_lesson_9(explorer):
    "Every rule and argument gives what the function of lesson 9 gives."
    table, slides = explorer.given
    valid = slides[slides.split == "valid"].reset_index(drop=True)
    settings = [("average", {}), ("majority", {}), ("threshold", {"least": 9, "share": 0.2, "confidence": 0.55}),
                ("threshold", {"least": {"acinar": 3, "solid": 12}, "confidence": {"acinar": 0.8, "solid": 0.5}})]  # fmt: skip
    for method, arguments in settings:
        explorer.method = method
        explorer.arguments = arguments
        assert explorer.error == ""
        truth = METHODS[method](table, valid, **explorer.arguments)
        pd.testing.assert_frame_equal(explorer.by_slide[truth.columns[:-1]], truth.drop(columns="minor"), check_dtype=False)
        assert explorer.scores == scores(truth)
    assert explorer.arguments["least"] == {"acinar": 3, "solid": 12} and explorer.by_slide.predicted.isna().sum() == 1


def test_explorer_positive(explorer):
    "A class with a threshold of its own is the diagnosis exactly where its mean probability reaches it."
    explorer.arguments = {"positive": "solid", "above": 0.3}
    table, slides = explorer.given
    truth = average_probability(table, slides[slides.split == "valid"]).dropna(subset="predicted")
    said = explorer.by_slide.dropna(subset="predicted").predicted
    assert ((said == "solid").to_numpy() == (truth.prob_solid >= 0.3).to_numpy()).all() and 0 < (said == "solid").sum() < len(said)
    others = truth[["prob_acinar", "prob_normal <b>"]].idxmax(axis=1).str[5:]
    assert (said.to_numpy() == np.where(truth.prob_solid >= 0.3, "solid", others)).all()
    explorer.arguments = {"positive": None}
    assert explorer.arguments == {}


def test_explorer_flips(explorer):
    explorer.method = "threshold"
    explorer.pin()
    assert not explorer.by_slide.flips.any()
    pinned = explorer.by_slide.predicted
    for least in (10, 20, 40):  # a slider that is dragged
        explorer.values = {"least": least}
    flips = explorer.by_slide.flips
    assert flips.any() and (explorer.by_slide.before.fillna("") == pinned.fillna("")).all()
    assert len(explorer.widget.section("flips")["rows"]) == flips.sum()
    explorer.values = {"confidence": 0.9}
    explorer.values = {"compare": "before"}
    truth = threshold_vote(*explorer.given, "normal <b>", least=40)
    truth = truth[(explorer.given[1].split == "valid").to_numpy()].predicted
    assert list(explorer.by_slide.before.fillna("")) == list(truth.fillna(""))


def test_explorer_splits(explorer):
    assert explorer.split == "valid" and explorer.widget.section("slides shown")["tone"] == "note"
    explorer.split = "test"
    assert "judge nothing" in explorer.widget.section("slides shown")["text"] and len(explorer.by_slide) == 9
    explorer.split = "all"
    assert len(explorer.by_slide) == 24
    with pytest.raises(InputError, match="choose one of valid, test, all"):
        explorer.split = "train"
    assert explorer.error == ""


def test_explorer_refuses(explorer):
    table, slides = explorer.given
    with pytest.raises(InputError, match="name one of them"):
        AggregationExplorer(table, slides, "fat")
    with pytest.raises(InputError, match="no 'most'"):
        explorer.arguments = {"most": 1}
    explorer.method = "threshold"
    with pytest.raises(InputError, match="thresholds are for"):
        explorer.arguments = {"least": {"acinar": 1}}
    with pytest.raises(InputError, match="average, majority, threshold"):
        explorer.method = "svm"


@pytest.mark.parametrize("change", ["no split", "no label", "one class", "half labelled"])
def test_explorer_of_poor_tables(change):
    slides = cohort(split=False)
    table, before = votes_of(slides), slides.copy()
    slides = {"no split": slides, "no label": slides.drop(columns="label"), "one class": slides[slides.label == "solid"],
              "half labelled": slides.assign(label=slides.label.where(slides.index % 2 == 0))}[change]  # fmt: skip
    with AggregationExplorer(table, slides) as made:
        for values in ({"method": "threshold"}, {"rule": "each"}, {"method": "majority"}):
            made.values = values
            assert made.error == "" and len(made.by_slide) == len(slides)
        assert "no split" in made.widget.section("slides shown")["text"]
        made.picture()
    assert before.equals(cohort(split=False))


# ---- in the browser ----------------------------------------------------------------------------------------------------
PANEL_CELL = f"""from deepslide_nb.explorers import Panel
import time
panel = Panel({CONTROLS!r}, height=220, title="Trial", sections={SECTIONS!r})
seen = []
panel.on_change(seen.append)
panel.on_pick(lambda *place: seen.append(place))
panel.on_press("pin it", lambda: seen.append("pin"))
panel"""


def shot(page, name, tmp_path, root):
    "Pictures of a widget at two widths of its page."
    folder = os.environ.get("DEEPSLIDE_SHOTS", tmp_path)
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    for width in (1280, 500):
        page.set_viewport_size({"width": width, "height": 1800})
        page.wait_for_timeout(400)
        root.screenshot(path=f"{folder}/{name}-{width}.png")
    page.set_viewport_size({"width": 1300, "height": 950})


def test_panel_in_jupyterlab(chromium, tmp_path):
    lab.write_notebook(tmp_path / "n.ipynb", [PANEL_CELL])
    with lab.jupyterlab(tmp_path) as address, lab.chromium(chromium) as page:
        lab.open_notebook(page, address, "n.ipynb")
        tell = lambda code: lab.in_kernel(page, code)  # noqa: E731
        root = page.locator(".dsnb-panel")
        root.wait_for(timeout=60000)

        # every control by keyboard
        slider = page.get_by_label("Least share", exact=True)
        slider.focus()
        for key in ("ArrowRight", "ArrowRight", "Tab"):
            page.keyboard.press(key)
        page.keyboard.type("0.33")  # the number beside it, put on the slider's steps
        page.keyboard.press("Tab")
        lab.wait_for(lambda: tell("print(panel.values['share'])") == "0.35", 30, "the number")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Tab")
        page.keyboard.type("two")
        for key in ("Tab", "Space", "Tab", "Tab", "ArrowDown", "Tab", "ArrowDown"):
            page.keyboard.press(key)
        page.get_by_role("button", name="pin it").click()
        want = {"share": 0.35, "least": 6, "find": "two", "how": "m", "rule": "each <b>", "pen": False}
        lab.wait_for(lambda: tell("print(panel.values, seen[-1])") == f"{want} pin", 30, "the values")
        page.get_by_label("least", exact=True).fill("500")
        page.keyboard.press("Enter")
        lab.wait_for(lambda: tell("print(panel.values['least'])") == "20", 30, "the highest")

        # rows by mouse and by keyboard
        page.get_by_role("row", name="slide 1 a").click()
        for key in ("ArrowDown", "ArrowDown", "Enter"):
            page.keyboard.press(key)
        lab.wait_for(lambda: tell("print(panel.picked['row'], seen[-2:])") == "3 [('slides', 1), ('slides', 3)]", 30, "a row")
        page.keyboard.press("End")
        assert page.evaluate("() => document.activeElement.innerText.startsWith('slide 29')")
        page.keyboard.press("Enter")
        lab.wait_for(lambda: tell("print(panel.picked['row'])") == "29", 30, "the last row")
        assert page.evaluate("() => document.activeElement.innerText.startsWith('slide 29')"), "focus stays where it was"

        # from Python, an error, and a slow answer: the newest value wins
        tell("panel.set(share=0.8, how='a')")
        lab.wait_for(lambda: slider.input_value() == "0.8", 30, "the slider")
        lab.check_accessible(page, ".dsnb-panel")
        shot(page, "panel", tmp_path, root)
        tell("calls = []\npanel.on_change(lambda _: (calls.append(panel.values['share']), time.sleep(0.3)))")
        box = slider.bounding_box()
        start = time.monotonic()
        page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
        page.mouse.down()
        for k in range(40):
            page.mouse.move(box["x"] + 8 + k * (box["width"] - 12) / 40, box["y"] + box["height"] / 2)
            page.wait_for_timeout(10)
        page.mouse.up()
        took = time.monotonic() - start
        last = slider.input_value()
        lab.wait_for(lambda: float(tell("print(calls[-1])")) == float(last), 30, "the newest value")
        assert int(tell("print(len(calls))")) <= took / 0.3 + 2, "no value waits in a queue"
        tell("panel.on_pick(lambda *place: 1 / 0)\npanel.pick('slides', 0)")
        page.get_by_role("alert").filter(has_text="division by zero").wait_for(timeout=30000)
        assert not [t for t in page.said if "dsnb" in t or "anywidget" in t], page.said


EXPLORERS_CELL = """from deepslide_nb.explorers import AggregationExplorer, TissueTuner
import pandas as pd
from deepslide_nb.slides import open_slide
tuner = TissueTuner(open_slide("slide.png", 0.5), tile_px=64, sharp=0.05)
explorer = AggregationExplorer(pd.read_parquet("tiles.parquet"), pd.read_csv("slides.csv"), "normal <b>")
tuner"""


def test_explorers_in_jupyterlab(chromium, ink, tmp_path):
    "Both, by mouse and by keyboard; read back in Python; nothing that axe finds."
    Image.open(ink).save(tmp_path / "slide.png")
    cohort().to_csv(tmp_path / "slides.csv", index=False)
    votes_of(cohort()).to_parquet(tmp_path / "tiles.parquet")
    lab.write_notebook(tmp_path / "n.ipynb", [EXPLORERS_CELL, "explorer"])
    with lab.jupyterlab(tmp_path) as address, lab.chromium(chromium) as page:
        lab.open_notebook(page, address, "n.ipynb")
        tell = lambda code: lab.in_kernel(page, code)  # noqa: E731
        tuner = page.get_by_role("group", name="Tissue of slide.png")
        tuner.wait_for(timeout=60000)

        image = tuner.get_by_role("img", name="tissue")
        before = image.get_attribute("alt")
        tuner.get_by_role("checkbox", name="Leave out pen").uncheck()
        lab.wait_for(lambda: tell("print(tuner._pen.any())") == "False", 30, "the pen kept")
        lab.wait_for(lambda: image.get_attribute("alt") != before, 30, "another picture")
        tuner.get_by_label("Least sharpness", exact=True).focus()
        page.keyboard.press("Home")
        lab.wait_for(lambda: tell("print(tuner.values['sharp'], tuner._blur.any())") == "0 False", 30, "the blurred kept")
        assert page.evaluate("() => document.activeElement.type") == "range", "the slider keeps the focus"
        tuner.get_by_label("Filter", exact=True).select_option("purple")
        lab.wait_for(lambda: tell("print(tuner.values['tissue'], tuner.error)") == "purple", 30, "the other filter")
        tuner.get_by_label("More purple points than", exact=True).wait_for()
        assert not tuner.get_by_label("Least sharpness", exact=True).count()
        tuner.get_by_text("tissue = purple").wait_for()
        tuner.get_by_label("Filter", exact=True).select_option("otsu")
        tell("tuner.values = dict(pen=True, sharp=0.05)")
        lab.check_accessible(page, "[aria-label='Tissue of slide.png']")
        shot(page, "tuner", tmp_path, tuner)

        rules = page.get_by_role("group", name="From tiles to the diagnosis")
        rules.get_by_label("Rule", exact=True).select_option("threshold")
        slider = rules.get_by_label("Least tiles", exact=True)
        slider.wait_for()
        slider.focus()
        for _ in range(15):
            page.keyboard.press("ArrowRight")
        lab.wait_for(lambda: tell("print(explorer.method, explorer.arguments['least'])") == "threshold 20", 30, "the threshold")
        flips = tell("print(explorer.by_slide.flips.sum())")
        assert int(flips) > 0
        rules.get_by_role("heading", name=f"{flips} slide").wait_for()
        rules.get_by_label("Slides", exact=True).select_option("test")
        rules.get_by_text("judge nothing").wait_for()
        rules.get_by_label("one for each class").check()
        rules.get_by_role("group", name="solid").get_by_label("Confidence above", exact=True).fill("0.9")
        lab.wait_for(lambda: "0.9" in tell("print(explorer.arguments['confidence'])"), 30, "the class's own threshold")
        rules.get_by_role("button", name="Pin this setting").click()
        lab.wait_for(lambda: tell("print(explorer.by_slide.flips.sum())") == "0", 30, "no flip")
        lab.check_accessible(page, "[aria-label^='From tiles']")
        shot(page, "aggregation", tmp_path, rules)
        tell("explorer.widget.on_change(lambda _: 1 / 0)\nexplorer.split = 'valid'")
        page.get_by_role("alert").filter(has_text="division by zero").wait_for(timeout=30000)
        assert not [t for t in page.said if "dsnb" in t or "anywidget" in t], page.said
