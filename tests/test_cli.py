"The command line: exit codes, sentences, speed of the help."
import json
import subprocess
import sys
import time

import pandas as pd
import pytest
from conftest import TINY
from typer.testing import CliRunner

from deepslide_nb import cli
from deepslide_nb.pipeline import read_stamps
from deepslide_nb.slides import read_table

SETS = [a for k, v in TINY.items() for a in ("--set", f"{k}={v}")]


def call(*args):
    return CliRunner().invoke(cli.app, [str(a) for a in args])


def test_help_is_quick():
    code = "import sys; from deepslide_nb.cli import app; app(['--help'], standalone_mode=False); " \
           "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules)"  # fmt: skip
    start = time.time()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    took = time.time() - start
    assert done.returncode == 0, done.stderr
    for command in ("samples", "run", "predict", "evaluate", "report", "check", "view", "doctor"):
        assert command in done.stdout
    assert took < 3, "the budget is 1 s on a quiet machine"


@pytest.mark.parametrize("args", [("run",), ("run", "x"), ("walk",), ("run", "x", "--out", "y", "--set", "epochs"), ("check",)])
def test_wrong_usage(args):
    result = call(*args)
    assert result.exit_code == 2 and "Usage" in result.stderr


def test_run_ends_with_result_and_report(tiny, tmp_path):
    result = call("run", tiny, "--out", tmp_path / "run", *SETS)
    assert result.exit_code == 0, result.output
    lines = result.stdout.strip().splitlines()[-3:]
    assert lines[0].startswith("Slides: 100 % right (4 of 4 test slides right") and lines[1].startswith("Tiles: ")
    assert lines[2] == f"Report: {tmp_path / 'run' / 'report.html'}"
    before = read_stamps(tmp_path / "run")
    again = call("run", tiny, "--out", tmp_path / "run", "--resume")
    assert again.exit_code == 0 and read_stamps(tmp_path / "run") == before, "--resume keeps the settings of the run"
    changed = call("run", tiny, "--out", tmp_path / "run", "--resume", "--set", "aggregation=majority")
    assert changed.exit_code == 0
    assert read_table(tmp_path / "run/slide_predictions.csv").method.unique().tolist() == ["majority"]
    assert json.loads((tmp_path / "run/settings.json").read_text())["epochs"] == TINY["epochs"]


def test_settings_file_and_profile(tiny, tmp_path):
    (tmp_path / "mine.ini").write_text("[DEFAULT]\nepochs = none\n[classroom]\n")
    result = call("run", tiny, "--out", tmp_path / "run", "--settings", tmp_path / "mine.ini")
    assert result.exit_code == 1 and "mine.ini" in result.stderr and "epochs" in result.stderr
    assert not (tmp_path / "run").exists()


def test_predict_evaluate_report(tiny, tiny_run, tmp_path):
    assert call("predict", tiny_run, tiny, "--out", tmp_path / "new", "--workers", 1).exit_code == 0
    result = call("evaluate", tmp_path / "new", tiny, "--out", tmp_path / "judged")
    assert result.exit_code == 0 and "16 of 16" in result.stdout
    (tmp_path / "judged/report.html").unlink()
    assert call("report", tmp_path / "judged").exit_code == 0
    assert (tmp_path / "judged/report.html").exists()
    assert call("evaluate", tmp_path / "nothing", tiny, "--out", tmp_path / "x").exit_code == 1


def test_check(tiny, tmp_path):
    good = call("check", tiny)
    assert good.exit_code == 0 and "16 of 16 inputs are good" in good.stdout
    table = pd.read_csv(tiny)
    table["path"] = [str(tiny.parent / p) for p in table.path]
    (tmp_path / "broken.svs").write_bytes(b"not a slide")
    table.loc[3, "path"] = str(tmp_path / "broken.svs")
    table.to_csv(tmp_path / "slides.csv", index=False)
    bad = call("check", tmp_path / "slides.csv")
    assert bad.exit_code == 1 and "15 of 16" in bad.stdout
    said = [line for line in bad.stderr.splitlines() if "broken.svs" in line]
    assert len(said) == 1 and said[0].startswith(table.slide_id[3])


def test_check_real_broken_slide(real):
    result = call("check", real / "slides" / "broken.svs")
    assert result.exit_code == 1 and "0 of 1" in result.stdout


def test_doctor(monkeypatch):
    good = call("doctor")
    assert good.exit_code == 0 and "OpenSlide" in good.stdout and "ready" in good.stdout
    monkeypatch.setattr(cli, "try_openslide", lambda: (_ for _ in ()).throw(OSError("libopenslide.so.1: cannot open")))
    bad = call("doctor")
    assert bad.exit_code == 1 and "openslide-bin" in bad.stdout and "Missing: OpenSlide" in bad.stderr


def test_unforeseen_error_has_no_traceback(tiny, tmp_path, monkeypatch):
    from deepslide_nb import pipeline

    monkeypatch.setattr(pipeline, "make_tiles", lambda *_, **__: 1 / 0)
    result = call("run", tiny, "--out", tmp_path / "run", *SETS)
    assert result.exit_code == 1 and "Unexpected ZeroDivisionError" in result.stderr and "Traceback" not in result.stderr


def test_interrupt(tiny, tmp_path, monkeypatch):
    from deepslide_nb import pipeline

    monkeypatch.setattr(pipeline, "make_tiles", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    result = call("run", tiny, "--out", tmp_path / "run", *SETS)
    assert result.exit_code == 1 and "--resume" in result.stderr
