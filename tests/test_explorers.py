"The explorers: a panel's values, sections and picks, what they compute, and the whole of them in JupyterLab."
import os
import threading

import lab
import pytest

from deepslide_nb.explorers import Panel
from deepslide_nb.settings import InputError

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
    panel.controls = [{"name": "least", "kind": "number", "min": 1, "max": 30}, {"name": "share", "kind": "range", "min": 0, "max": 0.5}]
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


# ---- in the browser ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def browser():
    "A Chromium, or a skip where the machine has none (a failure on the CI machine)."
    pytest.importorskip("playwright")
    from deepslide_nb.cli import find_browser

    path = find_browser()
    if not path and os.environ.get("CI"):
        pytest.fail("no Chromium on the CI machine: .ci/run installs it")
    return path or pytest.skip("no Chromium on this machine")


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
    for width in (1280, 500):
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_timeout(400)
        root.screenshot(path=f"{folder}/{name}-{width}.png")
    page.set_viewport_size({"width": 1300, "height": 950})


def test_panel_in_jupyterlab(browser, tmp_path):
    lab.write_notebook(tmp_path / "n.ipynb", [PANEL_CELL])
    with lab.jupyterlab(tmp_path) as address, lab.chromium(browser) as page:
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
        lab.wait_for(lambda: tell("print(panel.values['share'])") == "0.35", 10, "the number")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Tab")
        page.keyboard.type("two")
        for key in ("Tab", "Space", "Tab", "Tab", "ArrowDown", "Tab", "ArrowDown"):
            page.keyboard.press(key)
        page.get_by_role("button", name="pin it").click()
        want = {"share": 0.35, "least": 6, "find": "two", "how": "m", "rule": "each <b>", "pen": False}
        lab.wait_for(lambda: tell("print(panel.values, seen[-1])") == f"{want} pin", 10, "the values")
        page.get_by_label("least", exact=True).fill("500")
        page.keyboard.press("Enter")
        lab.wait_for(lambda: tell("print(panel.values['least'])") == "20", 10, "the highest")

        # rows by mouse and by keyboard
        page.get_by_role("row", name="slide 1 a").click()
        for key in ("ArrowDown", "ArrowDown", "Enter"):
            page.keyboard.press(key)
        lab.wait_for(lambda: tell("print(panel.picked['row'], seen[-2:])") == "3 [('slides', 1), ('slides', 3)]", 10, "a row")
        page.keyboard.press("End")
        assert page.evaluate("() => document.activeElement.innerText.startsWith('slide 29')")
        page.keyboard.press("Enter")
        lab.wait_for(lambda: tell("print(panel.picked['row'])") == "29", 10, "the last row")
        assert page.evaluate("() => document.activeElement.innerText.startsWith('slide 29')"), "focus stays where it was"

        # from Python, an error, and a slow answer: the newest value wins
        tell("panel.set(share=0.8, how='a')")
        lab.wait_for(lambda: slider.input_value() == "0.8", 10, "the slider")
        lab.check_accessible(page, ".dsnb-panel")
        shot(page, "panel", tmp_path, root)
        tell("calls = []\npanel.on_change(lambda _: (calls.append(panel.values['share']), time.sleep(0.3)))")
        box = slider.bounding_box()
        page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
        page.mouse.down()
        for k in range(40):
            page.mouse.move(box["x"] + 8 + k * (box["width"] - 12) / 40, box["y"] + box["height"] / 2)
            page.wait_for_timeout(10)
        page.mouse.up()
        last = slider.input_value()
        lab.wait_for(lambda: tell("print(calls[-1])") == str(float(last)), 10, "the newest value")
        assert int(tell("print(len(calls))")) < 6
        tell("panel.on_pick(lambda *place: 1 / 0)\npanel.pick('slides', 0)")
        page.get_by_role("alert").filter(has_text="division by zero").wait_for(timeout=10000)
        assert not [t for t in page.said if "dsnb" in t or "anywidget" in t], page.said
