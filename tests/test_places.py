"Places to run: Colab's first cell in a bare environment, Binder's and the dev container's files."
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent


def colab_cell():
    "The cell as the page shows it."
    page = (ROOT / "docs" / "places.md").read_text(encoding="utf-8")
    return re.search(r"```ipython\n(ADDRESS = .*?)```", page, re.S)[1]


def test_colab_cell(tmp_path):
    "In a new environment that has the other packages, as Colab has PyTorch, but not the course."
    git = lambda *a: subprocess.run(["git", *a], cwd=ROOT, capture_output=True, text=True)  # noqa: E731
    if git("rev-parse", "--git-dir").returncode:
        pytest.skip("not a clone: there is nothing to clone from")
    env = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", env], check=True)
    python = env / ("Scripts" if os.name == "nt" else "bin") / "python"
    own = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True).strip()
    (Path(own) / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    cell = re.sub(r'ADDRESS = ".*"', f'ADDRESS = "file://{ROOT.as_posix()}"', colab_cell())
    asks = "import deepslide_nb, os\nfrom deepslide_nb.quiz import Quiz\nfrom deepslide_nb.tiles import window_size\n"
    asks += "print(deepslide_nb.__file__, os.path.basename(os.getcwd()), len(Quiz('quizzes/03_tissue.json').questions) > 4)"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell), nbformat.v4.new_code_cell(asks)])
    kernel = tmp_path / "kernels" / "kernels" / "bare"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "bare"}))
    os.environ["JUPYTER_PATH"] = str(tmp_path / "kernels")
    try:
        NotebookClient(nb, timeout=400, kernel_name="bare", resources={"metadata": {"path": str(tmp_path)}}).execute()
    finally:
        del os.environ["JUPYTER_PATH"]
    said = "".join(o.get("text", "") for o in nb.cells[1].outputs)
    assert said.startswith(str(env)) and said.endswith("nbs True\n"), said


def test_binder_resolves(tmp_path):
    "pip finds a set of versions for Binder's requirements, with PyPI in the place of PyTorch's index for CPUs."
    text = (ROOT / ".binder" / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("#", "--extra-index-url"))]
    assert lines == ["-c ../constraints.txt", "-e .[cluster]"]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "-c", "constraints.txt", "-e", ".[cluster]"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.fullmatch(r"python-3\.\d+\n", (ROOT / ".binder" / "runtime.txt").read_text())
    script = (ROOT / ".binder" / "postBuild").read_text(encoding="utf-8")
    assert os.access(ROOT / ".binder" / "postBuild", os.X_OK) and script.startswith("#!")


def test_dev_container_names_what_exists():
    about = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (\w+)", about["postCreateCommand"]):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_places_and_makefile_name_the_same_commands():
    "Each target of the table has its plain commands beside it, and they stand in the Makefile."
    page, makefile = ((ROOT / p).read_text(encoding="utf-8") for p in ("docs/places.md", "Makefile"))
    rows = re.findall(r"^\| `make ([\w-]+)` \| (.+) \|$", page, re.M)
    assert {target for target, _ in rows} >= {"demo", "course", "grade-demo", "docs", "test"}
    for target, plain in rows:
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.M)[1]
        for script in re.findall(r"(?:tools|docs)/\w+\.py", plain):
            assert script in recipe, (target, script)
