"Every lesson runs from a fresh kernel, with training cut short."
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "nbs").glob("*.ipynb"))
sys.path.insert(0, str(ROOT / "tools"))
from nb import execute  # noqa: E402


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_runs(path, monkeypatch):
    monkeypatch.setenv("DEEPSLIDE_FAST", "1")
    execute(path)


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_is_readable(path):
    "The committed notebook shows its outputs, holds no error, and stays under 1 MB."
    assert path.stat().st_size < 1_000_000
    nb = json.loads(path.read_text(encoding="utf-8"))
    outputs = [o for c in nb["cells"] for o in c.get("outputs", [])]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert outputs, "run it with `python tools/nb.py run` and commit the outputs"
    first = "".join(nb["cells"][0]["source"])
    assert first.startswith("# ") and "\n> " in first, "a lesson opens with its title and a one-sentence subtitle"
