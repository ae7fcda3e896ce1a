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

import nbformat

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
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=executable or shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 950})
        page.said = []
        page.on("pageerror", lambda e: page.said.append(str(e)))
        page.on("console", lambda m: page.said.append(m.text) if m.type == "error" else None)
        try:
            yield page
        finally:
            browser.close()


def open_notebook(page, address, name):
    "Open a notebook and run all its cells."
    page.goto(f"{address}/lab/tree/{name}?reset")
    wait_for(lambda: page.evaluate("() => !!window.jupyterapp"), 60, "the page")
    wait_for(lambda: page.evaluate(READY), 60, "the kernel")
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
