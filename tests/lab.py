"A real JupyterLab in a real Chromium, for tests of widgets: a notebook of given cells, driven and read back."
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest
import tifffile

READY = """async () => {
  const app = window.jupyterapp;
  if (!app) return false;
  await app.restored;
  const panel = app.shell.currentWidget;
  if (!panel?.context?.isReady || !panel.sessionContext) return false;
  await panel.context.ready;
  await panel.sessionContext.ready;
  const kernel = panel.sessionContext.session?.kernel;
  if (!kernel) return false;
  await kernel.info;
  return true;
}"""
RUN = """async (code) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({ code, store_history: false });
  let text = "";
  future.onIOPub = ({ header, content }) => {
    if (header.msg_type === "stream" && content.name === "stdout") text += content.text;
    if (header.msg_type === "error") text += `ERROR ${content.ename}: ${content.evalue}`;
  };
  await future.done;
  return text;
}"""


def need_browser():
    "The path of a Chromium; skips where the machine has none, fails on the CI machine."
    from deepslide_nb.cli import find_browser

    path = find_browser()
    if not path and os.environ.get("CI"):
        pytest.fail("no Chromium on the CI machine: .ci/run installs it")
    return path or pytest.skip("no Chromium on this machine")


def keep_shot(page, folder, name):
    "A screenshot, kept where DEEPSLIDE_SHOTS says."
    page.screenshot(path=Path(os.environ.get("DEEPSLIDE_SHOTS", folder)) / f"{name}.png")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(check, seconds, what):
    "Call `check` until it gives something true."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def write_notebook(path, cells):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata.kernelspec = {"display_name": "python3", "language": "python", "name": "python3"}
    nbformat.write(nb, path)


@contextmanager
def jupyterlab(folder):
    "The address of a JupyterLab that serves `folder`, with settings of its own; stopped at the end."
    port = free_port()
    quiet = folder / ".settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false"}')  # or a question lies over the page
    env = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / ".jupyter"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces"),
                        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"), "IPYTHONDIR": str(folder / ".ipython")}  # fmt: skip
    options = ["--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
               "--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={folder}", "--allow-root",
               "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]  # fmt: skip
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=env, stdout=log, stderr=log)
        address = f"http://127.0.0.1:{port}"

        def answers():
            assert server.poll() is None, (folder / "lab.log").read_text()[-2000:]
            try:
                return json.load(urllib.request.urlopen(f"{address}/api/status", timeout=2))
            except OSError:
                return None

        try:
            wait_for(answers, 60, "JupyterLab")
            yield address
        finally:
            server.terminate()
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()


@contextmanager
def chromium(executable):
    "A page of a headless Chromium; what its console says of errors stands in `page.said`."
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=executable or shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 950}, has_touch=True)
        page.said = []
        page.on("pageerror", lambda e: page.said.append(str(e)))
        page.on("console", lambda m: page.said.append(m.text) if m.type == "error" else None)
        try:
            yield page
        finally:
            browser.close()


def open_notebook(page, address, name, run=True):
    "Open a notebook and run all its cells."
    page.goto(f"{address}/lab/tree/{name}?reset")
    wait_for(lambda: page.evaluate("() => !!window.jupyterapp"), 60, "the page")
    wait_for(lambda: page.evaluate(READY), 60, "the kernel")
    if run:
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")


def in_kernel(page, code):
    "What code prints in the notebook's kernel."
    text = page.evaluate(RUN, code)
    assert "ERROR" not in text, text
    return text.strip()


WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def check_accessible(page, selector):
    "Fail with rule, weight and element for all that axe finds against WCAG 2.2 AA in the one element of a selector."
    from axe_playwright_python.sync_playwright import Axe

    assert page.locator(selector).count(), f"{selector!r} is not on the page"
    options = {"runOnly": {"type": "tag", "values": WCAG}, "resultTypes": ["violations"]}
    violations = Axe().run(page, selector, options).response["violations"]
    found = [(v, node) for v in violations for node in v["nodes"]]
    lines = [f"{v['id']} ({v['impact']}): {v['help']}\n    {node['html']}" for v, node in found]
    assert not lines, "\n".join([f"{len(lines)} things that not everybody can use:", *lines])


def huge_color(x, y, side=100_000):
    "What `write_huge` paints at a place."
    return 60 + 180 * x / side, 60 + 180 * y / side, 128


def write_huge(path, side=100_000, tile=512, keep=16):
    """A pyramid of `side` x `side` pixels in JPEG tiles, a few MB since most of its finest tiles are not stored.

    Red grows to the right, green downwards; of the finest level every `keep`th diagonal of tiles is there, white else."""
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for downsample in (1, 4, 16, 64):
            pixels = side // downsample
            cells = -(-pixels // tile)

            def tiles():
                for row in range(cells):
                    for column in range(cells):
                        middle = (np.array([column, row]) + 0.5) * tile * downsample
                        there = downsample > 1 or (row + column) % keep == 0
                        yield np.full((tile, tile, 3), np.round(huge_color(*middle, side)), np.uint8) if there else None

            tif.write(tiles(), shape=(pixels, pixels, 3), dtype=np.uint8, tile=(tile, tile), photometric="rgb",
                      compression="jpeg", subfiletype=int(downsample > 1), resolutionunit="CENTIMETER",
                      resolution=(40000 / downsample, 40000 / downsample))  # fmt: skip
    return path


LISTEN = """() => {
  window.arrived = [];
  document.addEventListener("dsnb-tile", (event) => window.arrived.push(event.detail));
}"""
FIRST_PICTURE = """() => new Promise((resolve) => {
  const start = performance.now();
  document.addEventListener("dsnb-tile", () => requestAnimationFrame(() => resolve(performance.now() - start)), { once: true });
  window.jupyterapp.commands.execute("notebook:run-all-cells");
})"""
