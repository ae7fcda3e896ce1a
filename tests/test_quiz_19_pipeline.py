"The quiz of lesson 19: answers that can be computed."
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from quizzes import right

import deepslide_nb.tiles as tiling
from deepslide_nb.evaluation import scores
from deepslide_nb.pipeline import USES, digest, fingerprint, step_key
from deepslide_nb.report import percent
from deepslide_nb.settings import load_settings


def test_naive_step(tmp_path):  # question 1
    def naive_step(size, path=tmp_path / "n.txt"):
        if not path.exists():
            path.write_text(str(1000 // size))
        return int(path.read_text())

    naive_step(100)
    assert right("19_pipeline", 1) == [naive_step(50)]


def test_keys_after_a_change():  # question 2
    usual, other = load_settings(tissue_min=0.5), load_settings(tissue_min=0.3)
    assert usual.balance == "repeats"
    assert right("19_pipeline", 2) == [name for name in USES if step_key(name, usual) != step_key(name, other)]


def test_bits_of_a_digest():  # question 3
    assert right("19_pipeline", 3) == [4 * len(digest("anything"))]


def test_fingerprint_of_a_copy(tmp_path):  # question 4
    (tmp_path / "a").write_bytes(b"pixels")
    shutil.copy(tmp_path / "a", tmp_path / "b")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
    assert "does the steps again" in right("19_pipeline", 4)[0]


def test_slides_after_a_kill(tmp_path, monkeypatch):  # question 6
    rows = []
    for i in range(9):
        Image.fromarray(np.full((64, 64, 3), (200, 120, 180), np.uint8)).save(tmp_path / f"s{i}.png")
        rows.append((f"s{i}", str(tmp_path / f"s{i}.png"), 1.0))
    slides = pd.DataFrame(rows, columns=["slide_id", "path", "mpp"])
    settings, cut, calls = load_settings(workers=1, tissue="none"), tiling.slide_tiles, []

    def trip(*args):
        calls.append(args)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return cut(*args)

    monkeypatch.setattr(tiling, "slide_tiles", trip)
    with pytest.raises(KeyboardInterrupt):
        tiling.make_tiles(slides, settings, tmp_path / "parts")
    calls[:] = [None] * 6
    _, failures = tiling.make_tiles(slides, settings, tmp_path / "parts")
    assert len(failures) == 0 and right("19_pipeline", 6) == [len(calls) - 6]


def test_a_slide_that_cannot_be_opened():  # question 7
    table = pd.DataFrame({"label": ["a", "b"] * 10, "predicted": ["a", "b"] * 8 + ["a"] + ["a", "b", None]})
    table = table.assign(prob_a=0.5, prob_b=0.5)
    assert (table.label == table.predicted).sum() == 17 and table.predicted.isna().sum() == 1
    assert [f"{v} %" for v in right("19_pipeline", 7)] == [percent(scores(table)["accuracy"])]
