"What goes wrong in real life: bad input, a full disk, a kill in the middle."
import os
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import TINY, make_tiny, tiny_slide, write_slide
from typer.testing import CliRunner

from deepslide_nb import prediction
from deepslide_nb.cli import app, full_disk, sentence
from deepslide_nb.pipeline import read_table, run
from deepslide_nb.settings import InputError

SETS = [a for k, v in TINY.items() for a in ("--set", f"{k}={v}")]


def refused(*args, code=1):
    "Call the command line; exit code 1 and one sentence on stderr, which is given back."
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == code, result.output
    said = [line for line in result.stderr.splitlines() if line.strip() and "%|" not in line and "slide/s" not in line]
    said = [line for line in said if line not in ("slides", "labels")]
    assert len(said) == 1 and said[0].endswith(".") and "Traceback" not in said[0], said
    return said[0]


@pytest.fixture
def copy(tiny, tmp_path):
    "A changed slides.csv beside the tiny slides: copy(function of the table) -> its path."

    def make(change, name="slides.csv"):
        table = pd.read_csv(tiny, dtype={"slide_id": str})
        table["path"] = [str(tiny.parent / p) for p in table.path]
        path = tmp_path / name
        change(table).to_csv(path, index=False)
        return path

    return make


def one_patient(table):
    return table.assign(patient_id=table.label)


BAD = {
    "one class": (lambda t: t[t.label == "calm"], "one class"),
    "one patient per class": (one_patient, "patient"),
    "no label column": (lambda t: t.drop(columns="label"), "label"),
    "empty label": (lambda t: t.assign(label=t.label.where(t.index > 0)), "label is empty"),
    "duplicate": (lambda t: t.assign(slide_id="same"), "'same'"),
    "no rows": (lambda t: t[:0], "no slides"),
    "lost file": (lambda t: t.assign(path="nowhere.svs"), "nowhere.svs"),
    "unknown split": (lambda t: t.assign(split="exam"), "exam"),
    "leak": (lambda t: t.assign(split=["train", "test"] * 8), "patient"),
    "mpp missing": (lambda t: t.assign(mpp=np.nan)[lambda t: t.path.str.endswith("tif")], "microns per pixel"),
}


@pytest.mark.parametrize("change, word", BAD.values(), ids=BAD)
def test_bad_table_is_refused_at_once(copy, tmp_path, change, word):
    assert word in refused("run", copy(change), "--out", tmp_path / "run", *SETS)
    assert not (tmp_path / "run").exists()


def test_bad_places_are_refused(tmp_path, tiny):
    out = tmp_path / "run"
    assert "no such file" in refused("run", tmp_path / "nothing", "--out", out)
    (tmp_path / "empty").mkdir()
    assert "no class folders" in refused("run", tmp_path / "empty", "--out", out)
    assert "there is no setting 'epoch'" in refused("run", tiny, "--out", out, "--set", "epoch=3")
    assert "there is no profile" in refused("run", tiny, "--out", out, "--profile", "fast")
    assert "no model" in refused("predict", tmp_path / "empty", tiny, "--out", out)
    assert "no slides.csv" in refused("report", tmp_path / "empty")
    assert not out.exists()
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert "not empty" in refused("run", tiny, "--out", out)
    assert "no run to go on with" in refused("run", tiny, "--out", out, "--resume")
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]


def test_every_slide_corrupt(copy, tmp_path):
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"II*\0 not a slide")
    path = copy(lambda t: t.assign(path=str(broken)))
    assert "None of the 16 slides can be used" in refused("run", path, "--out", tmp_path / "run", *SETS)
    assert not (tmp_path / "run").exists()


def test_no_tissue_anywhere(tmp_path):
    rows = []
    for i in range(8):
        write_slide(tmp_path / f"{i}.tif", np.full((1200, 1200, 3), 243, np.uint8))
        rows.append((f"s{i}", f"{i}.tif", "ab"[i % 2], 1.0))
    pd.DataFrame(rows, columns=["slide_id", "path", "label", "mpp"]).to_csv(tmp_path / "slides.csv", index=False)
    said = refused("run", tmp_path / "slides.csv", "--out", tmp_path / "run", *SETS, "--set", "tile_px=300")
    assert "No tile with tissue" in said and "tissue_min" in said


def test_one_corrupt_slide_stops_no_other(tmp_path, tiny_settings):
    "A bad slide of the test split is listed, stays in the slide predictions without tiles, and counts as wrong."
    path = make_tiny(tmp_path / "set")
    table = pd.read_csv(path)
    table["split"] = ["train", "train", "train", "train", "valid", "valid", "test", "test"] * 2
    table.to_csv(path, index=False)
    (path.parent / table.path.iloc[-1]).write_bytes(b"not a slide any more")
    report = run(path, tmp_path / "run", tiny_settings)
    lost = table.slide_id.iloc[-1]
    failures = read_table(tmp_path / "run/failures.csv")
    assert failures.slide_id.tolist() == [lost] and failures.error[0].strip()
    by_slide = read_table(tmp_path / "run/slide_predictions.csv").query("slide_id == @lost")
    assert by_slide.n_tiles.tolist() == [0, 0] and by_slide.predicted.isna().all()
    text = report.read_text(encoding="utf-8")
    assert "could not be used" in text and "no evidence" in text and "3 of 4 test slides right" in text


@pytest.mark.parametrize("labels", [("a_b", "prob_a b"), ("Würde/<script>alert(1)</script>", 'é"\\,|NA')], ids=["plain", "wild"])
def test_any_text_is_a_class(tmp_path, tiny_settings, labels):
    path = make_tiny(tmp_path / "ein Ordner/mit_é", patients=3, labels=labels)
    out = tmp_path / "läufe/run 1"
    report = run(path, out, tiny_settings.model_copy(update={"epochs": 1}))
    by_slide = read_table(out / "slide_predictions.csv")
    assert set(by_slide.label) == set(labels)
    assert {c for c in by_slide if c.startswith("prob_")} == {f"prob_{label}" for label in labels}
    text = report.read_text(encoding="utf-8")
    assert "<script" not in text and 'src="data:image/png' in text


def test_na_is_a_class_too(tmp_path, tiny_settings):
    path = make_tiny(tmp_path, patients=3, labels=("NA", "None"))
    run(path, tmp_path / "run", tiny_settings.model_copy(update={"epochs": 1}))
    assert set(read_table(tmp_path / "run/slide_predictions.csv").label) == {"NA", "None"}


def test_nested_and_relative_paths(tmp_path, tiny, monkeypatch):
    "slides.csv may lie anywhere, name slides from its own folder, and be named from anywhere."
    deep = tmp_path / "a/b"
    deep.mkdir(parents=True)
    shutil.copytree(tiny.parent / "slides", tmp_path / "a/slides")
    table = pd.read_csv(tiny)
    table["path"] = "../" + table.path
    table.to_csv(deep / "slides.csv", index=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["check", "a/b/slides.csv"])
    assert result.exit_code == 0 and "16 of 16" in result.stdout


# ------------------------------------------------------------------ a full disk

def test_a_full_disk_is_known_in_any_form():
    from safetensors import SafetensorError

    assert full_disk(OSError(28, "x")) and full_disk(SafetensorError("I/O error: No space left on device (os error 28)"))
    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError as e:
            raise RuntimeError("could not save") from e
    except RuntimeError as e:
        assert full_disk(e)
    assert not full_disk(ValueError("28 slides"))


def test_full_disk_then_resume(tiny, tiny_run, tmp_path):
    "No file may pass 200 kB, so that the weights cannot be written; afterwards the run goes on to the same tables."
    out = tmp_path / "run"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # noqa: E731
    args = [sys.executable, "-c", "from deepslide_nb.cli import app; app()", "run", str(tiny), "--out", str(out), *SETS]
    done = subprocess.run(args, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "full" in done.stderr or "large" in done.stderr
    assert "--resume" in done.stderr and not list(out.rglob(".part-*"))
    run(tiny, out, resume=True)
    same_tables(out, tiny_run)


def test_sentence_for_the_unforeseen(tmp_path):
    assert sentence(KeyError("x"), tmp_path).startswith("Unexpected KeyError")
    assert sentence(PermissionError(13, "Permission denied", "/x/y")) == "/x/y: Permission denied."


# ------------------------------------------------------------------ a kill in the middle

DRIVER = """
import os, signal
import deepslide_nb.{module} as module
from deepslide_nb.cli import app

owner, name = {owner}, "{name}"
true, calls = getattr(owner, name), []

def trap(*args, **kwargs):
    calls.append(1)
    if len(calls) == {n}:
        os.kill(os.getpid(), signal.SIGKILL)
    return true(*args, **kwargs)

setattr(owner, name, trap)
app()
"""
KILLS = {
    "tiling": ("tiles", "module", "slide_tiles", 6, "work/tiles-*/*.parquet"),
    "training": ("training", "module.Keeper", "save", 2, "work/train-*/checkpoint.pt"),
    "prediction": ("prediction", "module", "predict_tiles", 3, "work/predict-*/*.parquet"),
}


def same_tables(out, other):
    "All that a run ends in is equal; only the seconds in the log may differ."
    for name in ("slides.csv", "splits.csv", "tiles.parquet", "predictions.parquet", "slide_predictions.csv", "failures.csv"):
        pd.testing.assert_frame_equal(read_table(out / name), read_table(other / name), check_exact=True)
    for name in ("metrics.json", "model/weights.safetensors"):
        assert (out / name).read_bytes() == (other / name).read_bytes(), name
    logs = [pd.read_csv(f / "model/log.csv").drop(columns="seconds") for f in (out, other)]
    pd.testing.assert_frame_equal(*logs, check_exact=True)


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_killed_and_resumed(tiny, tiny_run, tmp_path, kill):
    module, owner, name, n, left = kill
    out = tmp_path / "run"
    code = DRIVER.format(module=module, owner=owner, name=name, n=n)
    args = [sys.executable, "-c", code, "run", str(tiny), "--out", str(out), *SETS]
    done = subprocess.run(args, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(out.glob(left)), "the kill came before anything of the step was done"
    assert not (out / "report.html").exists()
    run(tiny, out, resume=True)
    same_tables(out, tiny_run)
    assert not [p for p in (out / "work").iterdir() if p.is_dir()], "scratch folders are gone at the end"


@pytest.mark.parametrize("error", [InputError, ValueError])
def test_one_slide_fails_in_prediction_and_is_tried_again(tiny, tiny_run, tiny_settings, tmp_path, monkeypatch, error):
    "Whatever goes wrong with one slide, the others are done; when it was a passing trouble, --resume makes it good."
    splits, true = read_table(tiny_run / "splits.csv"), prediction.predict_tiles
    lost = splits.slide_id[splits["split"] == "test"].iloc[-1]

    def flaky(model, meta, slide, tiles, *rest, **more):
        if lost in set(tiles.slide_id):
            raise error(f"{slide.path}: the network drive is away.")
        return true(model, meta, slide, tiles, *rest, **more)

    monkeypatch.setattr(prediction, "predict_tiles", flaky)
    run(tiny, tmp_path / "run", tiny_settings)
    failures = read_table(tmp_path / "run/failures.csv")
    assert failures.slide_id.tolist() == [lost] and "network drive" in failures.error[0]
    assert lost in set(read_table(tmp_path / "run/slide_predictions.csv").slide_id)
    monkeypatch.undo()
    run(tiny, tmp_path / "run", resume=True)
    same_tables(tmp_path / "run", tiny_run)


def test_slide_changed_after_the_run(tmp_path, tiny_settings):
    "A slide with new pixels under the old name is not answered from the old tables."
    path = make_tiny(tmp_path / "set", patients=3)
    quick = tiny_settings.model_copy(update={"epochs": 1})
    run(path, tmp_path / "run", quick)
    before = read_table(tmp_path / "run/tiles.parquet")
    write_slide(path.parent / "slides/00.png", tiny_slide(np.random.default_rng(1), "calm", h=96))
    run(path, tmp_path / "run", quick, resume=True)
    assert len(read_table(tmp_path / "run/tiles.parquet")) < len(before)
