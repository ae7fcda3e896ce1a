"The report in a real browser: every picture is there, nothing is cut off, nothing is fetched."
import json
import re
import subprocess

import pytest

LOOK = """<script>addEventListener("load", () => {
  const missing = [...document.links].filter(a => a.hash && !document.getElementById(decodeURIComponent(a.hash.slice(1))));
  const found = {pictures: document.images.length,
    broken: [...document.images].filter(i => !i.naturalWidth || !i.alt).length, missing: missing.length,
    overflow: document.documentElement.scrollWidth - innerWidth,
    fetched: performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:")).length};
  document.title = "LOOK" + JSON.stringify(found) + "END"; })</script>"""


@pytest.mark.parametrize("width", [1280, 500])
@pytest.mark.parametrize("which", ["tiny_run", "every_run"])
def test_report(chromium, which, request, tmp_path, width):
    page = tmp_path / "report.html"
    page.write_text((request.getfixturevalue(which) / "report.html").read_text(encoding="utf-8") + LOOK, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
             f"--window-size={width},1600", "--virtual-time-budget=10000"]  # fmt: skip
    done = subprocess.run([chromium, *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120)
    found = json.loads(re.search("LOOK(.*?)END", done.stdout)[1])
    assert found.pop("pictures") > 5
    assert found.pop("overflow") <= 0
    assert set(found.values()) == {0}, found
