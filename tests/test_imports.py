"Which parts of the package do without PyTorch: they are imported by every worker that reads slides."
import subprocess
import sys

LIGHT = ("settings", "samples", "slides", "tissue", "tiles", "annotations", "aggregation", "evaluation", "overlays")
CODE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"deepslide_nb.{name}")
    heavy = {"torch", "torchvision", "fastai"} & set(sys.modules)
    assert not heavy, f"{name} imports {heavy}"
"""


def test_light_modules_do_without_torch():
    done = subprocess.run([sys.executable, "-c", CODE, *LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
