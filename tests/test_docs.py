"The site: it builds without a warning, holds together, can be read by everybody on any screen, and loads nothing from elsewhere."
import functools
import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import lab
import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted(p.stem for p in (ROOT / "nbs").glob("[0-9]*.ipynb"))
EXERCISES = sorted(p.stem for p in (ROOT / "nbs" / "exercises").glob("[0-9]*.ipynb"))
sys.path.insert(0, str(ROOT / "docs"))

if not importlib.util.find_spec("sphinx") and not os.environ.get("CI"):
    pytest.skip("no Sphinx on this machine: pip install -e '.[docs]'", allow_module_level=True)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    "The site, built once for all test processes, or the one in DEEPSLIDE_SITE: its folder, and what the build said."
    from filelock import FileLock

    if site := os.environ.get("DEEPSLIDE_SITE"):
        return SimpleNamespace(html=Path(site) / "html", rc=0, said="")
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "site"
    with FileLock(f"{out}.lock"):
        done = out / "done.json"
        if not done.exists():
            made = subprocess.run([sys.executable, ROOT / "docs" / "build.py", "--out", out], capture_output=True, text=True)
            out.mkdir(exist_ok=True)
            done.write_text(json.dumps([made.returncode, made.stdout + made.stderr]))
    rc, said = json.loads(done.read_text())
    return SimpleNamespace(html=out / "html", rc=rc, said=said)


def test_builds(built):
    "No warning of Sphinx, no picture without alt text, no broken link, nothing loaded from elsewhere."
    assert built.rc == 0, built.said[-4000:]
    assert "WARNING" not in built.said


def test_holds_everything(built):
    "Each lesson has its page, with slides, reference and quiz; each notebook of exercises its page, without solutions."
    for stem in LESSONS:
        page = (built.html / "nbs" / f"{stem}.html").read_text(encoding="utf-8")
        assert (built.html / "slides" / f"{stem}.html").is_file(), f"no slides of {stem}"
        assert f'href="../slides/{stem}.html"' in page
        nb = nbformat.read(ROOT / "nbs" / f"{stem}.ipynb", 4)
        assert ('<ol class="quiz">' in page) == any("Quiz(\"quizzes/" in c.source for c in nb.cells), stem
        assert "#| export" not in page and "fig-alt" not in page
    for stem in EXERCISES:
        page = (built.html / "nbs" / "exercises" / f"{stem}.html").read_text(encoding="utf-8")
        assert "NotImplementedError" in page and "BEGIN SOLUTION" not in page and "HIDDEN TESTS" not in page


def test_reference_is_whole(built):
    "Each public function and class of each module is in the reference, with what lessons patch into a class."
    import api

    for module in api.modules():
        page = (built.html / "docs" / "api" / f"{module.name}.html").read_text(encoding="utf-8")
        missing = [n for n in module.own if f'id="deepslide_nb.{module.name}.{n}"' not in page]
        assert not missing, f"{module.name}: {missing}"
    page = (built.html / "docs" / "api" / "slides.html").read_text(encoding="utf-8")
    assert 'id="deepslide_nb.slides.Slide.thumbnail"' in page
    page = (built.html / "docs" / "api" / "tissue.html").read_text(encoding="utf-8")
    assert "the tile is kept when more points than this are purple" in page  # a docment
    assert 'href="../../nbs/03_tissue.html#deepslide-s-purple-rule"' in page
    assert 'href="../docs/api/tissue.html#deepslide_nb.tissue.is_purple"' in (built.html / "nbs" / "03_tissue.html").read_text(encoding="utf-8")


def test_check_finds(tmp_path):
    "The check of the pages sees each of the faults that it is there for."
    import check

    (tmp_path / "sub").mkdir()
    (tmp_path / "good.html").write_text('<p id="here">x</p><img src="a.png" alt="a"><a href="https://example.org/x">y</a><a href="sub/bad.html">z</a>')
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "site.css").write_text("@import 'https://fonts.example.org/x.css'; p { background: url(//cdn.example.org/p.png) } a { background: url(a.png) }")
    faults = ['<img src="../a.png">', '<img src="../a.png" alt=" ">', '<a href="../none.html">x</a>', '<a href="../good.html#there">x</a>', '<a href="#nowhere">x</a>',
              '<script src="https://cdn.example.org/x.js"></script>', '<link rel="stylesheet" href="//cdn.example.org/x.css">', '<a href="http:/broken">x</a>']  # fmt: skip
    (tmp_path / "sub" / "bad.html").write_text("".join(faults) + '<a href="../good.html#here">x</a><link rel="canonical" href="https://example.org">')
    found = check.problems(tmp_path)
    assert len([f for f in found if f.startswith("sub/bad.html")]) == len(faults), found
    assert len([f for f in found if f.startswith("site.css")]) == 2
    assert len(found) == len(faults) + 2


def test_quiz_stands_open():
    "A quiz on a page: text escaped, every choice with its verdict, a number with all its answers."
    import stage

    page = stage.quiz_html([
        {"question": "Is <b> `a < b`?", "type": "multiple_choice", "outcome": 1, "answers": [
            {"answer": "<script>alert(1)</script>", "correct": False, "feedback": "No & never"}, {"answer": "yes", "correct": True, "feedback": "So it is"}]},
        {"question": "How many?", "type": "numeric", "outcome": 1, "answers": [
            {"type": "value", "value": 448, "correct": True, "feedback": "Twice 224."}, {"type": "range", "range": [0, 224], "correct": False, "feedback": "Too few."},
            {"type": "default", "feedback": "Count again."}]},
    ])  # fmt: skip
    assert "<script>" not in page and "&lt;script&gt;" in page and "<code>a &lt; b</code>" in page
    assert "<strong>Right.</strong> So it is" in page and "<strong>Wrong.</strong> No &amp; never" in page
    assert "<li>448: <strong>Right.</strong> Twice 224.</li>" in page and "from 0 to 224: <strong>Wrong.</strong>" in page and "anything else: Count again." in page
    assert "\n\n" not in page  # or Markdown would end the block


def test_cells_as_readers_see_them():
    import stage

    cell = nbformat.v4.new_code_cell("#| export\n#| fig-alt: A line: it rises.\n\nplt.plot(x)  # one\n#| kept")
    shown = stage.shown(cell)
    assert shown.source == "plt.plot(x)  # one\n#| kept"
    assert shown.metadata.tags == ["exported"] and shown.metadata.mystnb == {"image": {"alt": "A line: it rises."}}
    assert stage.shown(nbformat.v4.new_code_cell("#| default_exp tissue")) is None
    assert stage.LINK.sub(stage.lead, "[a](index.ipynb) [b](../README.md#x) [c](https://x.org/README.md) [d](../deepslide_nb/tissue.py) [e](nbs/exercises)") == (
        "[a](../index.md) [b](../index.md#x) [c](https://x.org/README.md) [d](../docs/api/tissue.md) [e](docs/exercises.md)")  # fmt: skip


@contextmanager
def served(folder):
    "The address of a folder on this machine."

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@contextmanager
def reader(built, chromium):
    "A page in a browser, and the address of the site; the test fails if anything is asked of another machine or goes wrong."
    with served(built.html) as address, lab.chromium(chromium) as page:
        asked = []
        page.on("request", lambda r: asked.append(r.url))
        yield page, address
        assert not [u for u in asked if not u.startswith((address, "data:", "blob:"))]
        assert page.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_in_a_browser(built, chromium, tmp_path, width, scheme):
    "Nothing sticks out, the console is quiet, and axe finds nothing in front page, lesson, exercises and reference."
    with reader(built, chromium) as (page, address):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        for name in ("index", "nbs/03_tissue", "nbs/exercises/03_tissue", "docs/api/tissue"):
            page.goto(f"{address}/{name}.html")
            page.wait_for_load_state("load")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width}"
            page.evaluate("document.querySelectorAll('article details').forEach((d) => { d.open = true; })")
            if (width, scheme) in ((1280, "light"), (400, "dark")):  # slow; colours and widths have been seen then
                lab.check_accessible(page, "article")
            lab.keep_shot(page, tmp_path, f"site_{name.replace('/', '_')}_{width}_{scheme}")


CUT = """(page) => [...page.querySelectorAll("*"), page]
  .filter((e) => !e.closest("aside") && !e.closest("math") && e.getClientRects().length)
  .filter((e) => e.getBoundingClientRect().bottom > page.getBoundingClientRect().bottom + 1)
  .map((e) => e.outerHTML.slice(0, 80))"""


def test_slides_of_a_lesson(built, chromium, tmp_path):
    "Every slide of a deck, with all that appears by clicks: nothing is cut off below, pictures are drawn."
    with reader(built, chromium) as (page, address):
        page.set_viewport_size({"width": 1280, "height": 720})
        page.goto(f"{address}/slides/03_tissue.html")
        page.wait_for_selector("html.fitted")
        pages = page.locator(".page")
        assert pages.count() >= 8
        for k in range(pages.count()):
            page.evaluate("k => { const i = Reveal.getIndices(document.querySelectorAll('.page')[k].parentElement); Reveal.slide(i.h, i.v, 99); }", k)
            assert pages.nth(k).is_visible()
            assert pages.nth(k).evaluate(CUT) == [], f"slide {k + 1}"
            assert pages.nth(k).evaluate("p => [...p.querySelectorAll('img')].every((i) => i.naturalWidth > 0 && i.clientHeight > 60)"), f"slide {k + 1}"
            lab.keep_shot(page, tmp_path, f"slide_{k + 1:02}")


def test_slides_fit(built, chromium):
    "On no slide of any lesson is there more than fits with text of 60 %."
    with reader(built, chromium) as (page, address):
        page.set_viewport_size({"width": 1280, "height": 720})
        full = []
        for stem in LESSONS:
            page.goto(f"{address}/slides/{stem}.html")
            page.wait_for_selector("html.fitted")
            sizes = page.evaluate("[...document.querySelectorAll('.page')].map((p) => Number(p.dataset.size))")
            full += [f"{stem}, slide {k}" for k, size in enumerate(sizes, 1) if not size]
        assert full == []
