"""The answers of the quiz of lesson 02, computed."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from quizzes import right

from deepslide_nb.settings import InputError
from deepslide_nb.slides import best_level, check_leak, read_slides


def test_width_in_millimetres():  # question 1
    assert right("02_slides", 1) == [80_000 * 0.25 / 1000]


def test_side_in_level_0():  # question 2
    assert right("02_slides", 2) == [224 * 0.5 / 0.25]


def test_level():  # question 3
    [answer] = right("02_slides", 3)
    assert answer.startswith(f"Read level {best_level((1, 4, 16), 6)} ") and answer.endswith("shrink what comes.")


def test_memory():  # question 4
    size = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (50_000, 60_000, 3), (0, 0, 0)).nbytes
    [(low, high)] = right("02_slides", 4)
    assert low <= size / 2**30 <= high and low <= size / 1e9 <= high


def test_refused_tables(tmp_path):  # question 6
    for name in "ab":
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.png")
    tables = {
        "Two rows have the slide_id `S1`": "slide_id,path,label\nS1,a.png,x\nS1,b.png,x\n",
        "There is no column patient_id": "slide_id,path,label\nS1,a.png,x\nS2,b.png,x\n",
        "A row says `validation`": "slide_id,path,label,split\nS1,a.png,x,train\nS2,b.png,x,validation\n",
        "Cells are separated by semicolons instead": "slide_id;path;label;mpp\nS1;a.png;x;0.5\n",
        "Cells are separated by semicolons, and mpp": "slide_id;path;label;mpp\nS1;a.png;x;0,5\n",
    }
    refused = []
    for start, text in tables.items():
        (tmp_path / "slides.csv").write_text(text)
        try:
            read_slides(tmp_path / "slides.csv")
        except InputError:
            refused.append(start)
    answers = right("02_slides", 6)
    assert len(answers) == len(refused) and all(a.startswith(r) for a, r in zip(answers, refused))


def test_leak():  # question 7
    slides = pd.DataFrame(
        {
            "slide_id": list("abcde"),
            "patient_id": ["P1", "P1", "P2", "P3", "P3"],
            "split": ["train", "valid", "test", "train", "train"],
        }
    )
    with pytest.raises(InputError, match="patient 'P1' has slides in train and valid"):
        check_leak(slides)
    assert right("02_slides", 7) == ["P1's"]
    check_leak(slides[slides.patient_id != "P1"])
