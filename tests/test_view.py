"`deepslide-nb view`: a slide with a run's layers on a page of its own, in real Chromium; nothing stays behind."
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import lab
import pandas as pd
import pytest
from test_cli import call

from deepslide_nb import cli
from deepslide_nb.widgets import find_slide, run_tables, slide_view
from deepslide_nb.settings import InputError

ENDS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def test_layers_of_a_run(every_run):
    found = find_slide("busy 7", every_run)
    with slide_view(**found) as viewer:
        names = [one["name"] for one in viewer.widget.layers]
        attention = [f"{kind}, times an even share" for kind in ("attention", "grid_attention")]
        assert names == ["class map", "tissue mask", "probability of busy", "probability of calm", *attention, "regions", "tile grid"]
        seen = {name for name, one in viewer.widget.layer_state.items() if one["visible"]}
        assert seen == {"class map", "regions", "tile grid"}
        assert set(viewer.tiles.slide_id) == {"busy 7"} and viewer.widget.slide["mpp"] == 1
    with slide_view(**find_slide(found["row"].path, every_run, mpp=0.25)) as viewer:
        assert viewer.widget.slide["mpp"] == 1, "what the run knows counts"
    with slide_view(**find_slide(found["row"].path, mpp=0.25)) as viewer:
        assert viewer.widget.slide["mpp"] == 0.25
        assert [one["name"] for one in viewer.widget.layers] == ["tissue mask", "regions"]


def test_a_training_slide_has_no_predictions(tiny_run):
    slides = run_tables(tiny_run)["slides"]
    with slide_view(**find_slide(slides.slide_id[slides.split == "train"].iloc[0], tiny_run)) as viewer:
        assert [one["name"] for one in viewer.widget.layers] == ["tissue mask", "regions"]


@pytest.mark.parametrize("args, said", [
    (["no-such.svs"], "no-such.svs"),
    (["calm 1", "--run", "no/such/run"], "finished run"),
    (["calm 99", "--run", "RUN"], "'calm 0', 'calm 1'"),
    (["calm 1", "--run", "RUN", "--port", "70000"], "--port 70000"),
    (["calm 1", "--run", "RUN", "--port", "TAKEN"], "name another"),
])  # fmt: skip
def test_bad_input(args, said, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "serve", lambda *_: pytest.fail("nothing is to be served"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        known = {"RUN": tiny_run, "TAKEN": taken.getsockname()[1]}
        result = call("view", *[known.get(a, a) for a in args], "--no-browser")
    assert result.exit_code == 1 and said in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_damaged_run(tiny_run, tmp_path):
    for name in ("slides.csv", "slide_predictions.csv"):
        (tmp_path / name).write_bytes((tiny_run / name).read_bytes())
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match="damaged"):
        run_tables(tmp_path)


def test_wrong_usage(tiny):
    assert call("view").exit_code == 2 and call("view", tiny, "--mpp", -1).exit_code == 2


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
@pytest.mark.parametrize("end", ENDS[1:])
def test_ends(end, tiny, tmp_path):
    "However it ends, no file stays."
    with viewing(tmp_path, pd.read_csv(tiny).path.map(lambda p: tiny.parent / p)[0]) as (server, address):
        assert "/login" in urllib.request.urlopen(address.split("?")[0]).url, "no page without the token"
        server.send_signal(end)
        assert server.wait(90) == 0


class viewing:
    "The command as a user starts it, in an empty folder with a folder for temporary files of its own."

    def __init__(self, folder, *args):
        self.here, self.scratch = folder / "here", folder / "scratch"
        self.here.mkdir()
        self.scratch.mkdir()
        command = [sys.executable, "-c", "from deepslide_nb.cli import app; app()", "view", *map(str, args), "--no-browser"]
        env = os.environ | {"TMPDIR": str(self.scratch), "DEEPSLIDE_DATA": str(folder / "data")}
        self.server = subprocess.Popen(command, cwd=self.here, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        address = self.server.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[0-9a-f]{48}", address), address + self.server.stderr.read()
        port = int(re.search(r":(\d+)/", address)[1])
        lab.wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 30, "the server")
        return self.server, address

    def __exit__(self, kind, *error):
        if self.server.poll() is None:
            self.server.kill()
        said, complained = self.server.communicate(timeout=90)
        if kind is None:
            assert said.strip().endswith("Closed.") and not complained, said + complained
            assert not list(self.here.iterdir()) and not list(self.scratch.iterdir())


def kernels_of(server):
    psutil = pytest.importorskip("psutil")
    return [p for p in psutil.Process(server.pid).children(recursive=True) if "ipykernel_launcher" in " ".join(p.cmdline())]


def test_in_chromium(chromium, every_run, tmp_path):
    "Opened, a tile clicked, accessible, nothing fetched from elsewhere, no code taken from the page; Ctrl+C ends all."
    with viewing(tmp_path, "busy 7", "--run", every_run) as (server, address), lab.chromium(chromium) as page:
        own, others, came = address.split("?")[0], [], []
        page.on("response", lambda r: came.append(r.url) if r.url.startswith(own) else others.append(r.url))
        page.goto(address)
        stage = page.locator(".dsnb-stage")
        stage.wait_for(timeout=60000)
        fitted = pytest.approx(10 * 640 / 128, rel=0.02)  # the whole slide to the page
        strength = lambda: re.search(r"([\d.]+)\u00d7", page.locator(".dsnb-scale").inner_text())  # noqa: E731
        lab.wait_for(lambda: (found := strength()) and float(found[1]) == fitted, 30, "the slide, fitted to the page")
        page.wait_for_timeout(1500)
        assert page.title() == "busy 7"
        boxes = page.locator(".dsnb-layer label").all_inner_texts()
        assert "probability of busy" in [text.strip() for text in boxes]
        assert float(strength()[1]) == fitted
        box = stage.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.locator(".dsnb-status").filter(has_text="slide_id busy 7").wait_for(timeout=30000)
        page.get_by_role("checkbox", name="class map").uncheck()
        lab.check_accessible(page, ".dsnb")
        page.screenshot(path=Path(os.environ.get("DEEPSLIDE_SHOTS", tmp_path)) / "view.png")
        assert came and not [url for url in others if not url.startswith(("data:", "blob:"))]
        kernels = kernels_of(server)
        assert len(kernels) == 1
        server.send_signal(signal.SIGINT)
        assert server.wait(90) == 0
        lab.wait_for(lambda: not any(k.is_running() for k in kernels), 30, "the kernel's end")
