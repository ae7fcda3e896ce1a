"""The project's notebook tool: run lessons in a real kernel, export them, and make README.md.

    python tools/nb.py run NAME ...     run in place, keep slim outputs, clean, export (all lessons without NAME)
    python tools/nb.py readme           write README.md from nbs/index.ipynb
    python tools/nb.py check            exit 1 when an export, a clean or README.md differs from its source
"""
import base64
import hashlib
import io
import posixpath
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"


def names(args):
    "Notebook paths for the names given (`04`, `04_tiles` or a path), or all of them."
    every = sorted(NBS.glob("*.ipynb"))
    if not args:
        return every
    found = [p for a in args for p in every if p.stem == Path(a).stem or p.stem.split("_")[0] == a]
    if len(found) < len(args):
        sys.exit(f"no such notebook among {args}; there are {[p.stem for p in every]}")
    return found


def execute(path):
    "Run the notebook from a fresh kernel in `nbs/`; the executed notebook."
    nb = nbformat.read(path, 4)
    return NotebookClient(nb, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(NBS)}}).execute()


def slim_png(data, colours=192):
    "A base64 PNG with at most `colours` colours, as base64."
    im = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    out = io.BytesIO()
    im.quantize(colours, kmeans=2, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def slim(nb):
    "Drop progress bars and warnings on stderr from the outputs, keep the picture or text of a widget, shrink the pictures."
    for cell in nb.cells:
        kept = []
        for o in cell.get("outputs", []):
            data = o.get("data", {})
            is_widget = data.pop("application/vnd.jupyter.widget-view+json", None) is not None
            says = o.get("metadata", {}).pop("keep_text", False)  # a widget that leaves text for readers, such as a quiz
            if o.get("name") == "stderr" or is_widget and not says and "image/png" not in data:
                continue
            if "image/png" in data:
                data["image/png"] = slim_png(data["image/png"])
            kept.append(o)
        if cell.cell_type == "code":
            cell["outputs"] = kept
    nb.metadata.pop("widgets", None)
    return nb


def run(args):
    from nbdev.clean import nbdev_clean
    from nbdev.export import nb_export

    for path in names(args):
        nb_export(path, lib_path=ROOT / "deepslide_nb")
        print(f"running {path.name}", flush=True)
        nbformat.write(slim(execute(path)), path)
        nbdev_clean(str(path))


def readme_text():
    "README.md: the markdown of the front page, with links that lead from the root instead of from nbs/."
    nb = nbformat.read(NBS / "index.ipynb", 4)
    cells = [c.source for c in nb.cells if c.cell_type == "markdown"]
    note = "<!-- Made from nbs/index.ipynb by tools/nb.py readme: edit the notebook, not this file. -->"
    text = "\n\n".join([note, *cells]) + "\n"
    return re.sub(r"\]\((?!https?:|#)([^)]+)\)", lambda m: f"]({posixpath.normpath('nbs/' + m[1])})", text)


def readme(_):
    (ROOT / "README.md").write_text(readme_text(), encoding="utf-8")


def digest():
    files = [*NBS.glob("*.ipynb"), *(ROOT / "deepslide_nb").glob("*.py")]
    return {p.relative_to(ROOT).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def check(_):
    "Exit 1 when `nbdev-export`, `nbdev-clean` or `readme` would change a file."
    before = digest()
    bin_dir = Path(sys.executable).parent
    for tool in ("nbdev-export", "nbdev-clean"):
        subprocess.run([bin_dir / tool], cwd=ROOT, check=True)
    after = digest()
    changed = sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))
    if (ROOT / "README.md").read_text(encoding="utf-8") != readme_text():
        changed.append("README.md")
    if changed:
        sys.exit(f"out of step with their source (run `make export` and commit): {', '.join(changed)}")


if __name__ == "__main__":
    verbs = {"run": run, "readme": readme, "check": check}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](sys.argv[2:])
