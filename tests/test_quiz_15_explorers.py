"The quiz of lesson 15: answers that can be computed."
import numpy as np
import pandas as pd
import pytest
from quizzes import right

from deepslide_nb.aggregation import threshold_vote
from deepslide_nb.explorers import FILTER, GRID, Panel, _Steps, _tuner_controls
from deepslide_nb.settings import InputError
from deepslide_nb.tiles import windows


def vote(name, n, sure):
    "n tiles that vote for a class with this probability."
    rest = (1 - sure) / 2
    return pd.DataFrame({f"prob_{c}": sure if c == name else rest for c in ("acinar", "normal", "solid")}, index=range(n))


def test_diagnosis_of_a_slide():  # question 1
    tiles = pd.concat([vote("acinar", 6, 0.8), vote("solid", 9, 0.65), vote("normal", 25, 0.9)]).assign(slide_id="a")
    slides = pd.DataFrame({"slide_id": ["a"]})
    said = [threshold_vote(tiles, slides, "normal", confidence=c).predicted[0] for c in (0.7, 0.6)]
    assert right("15_explorers", 1) == said[:1]
    assert said[1] == "solid"  # as a feedback tells


def test_fewest_flips():  # question 2
    first = np.arange(50) < 40
    second = np.r_[np.zeros(4, bool), np.ones(36, bool), np.ones(4, bool), np.zeros(6, bool)]
    assert first.sum() == second.sum() and (second & ~first).sum() == 4
    assert right("15_explorers", 2) == [(first != second).sum()]


def test_windows_of_a_slide():  # question 3
    assert right("15_explorers", 3) == [len(windows((2000, 1500), 192)[0])]


def test_knobs_that_a_run_has():  # question 4
    start = FILTER | {"tissue": "otsu", "tissue_min": 0.5, "tile_px": 96, "mpp": 1.0, "overlap": 0, "show": True}
    label = {c["label"]: c["name"] for c in _tuner_controls(start)} | {"The filter, such as Purple points": "tissue"}
    assert {label[t] for t in right("15_explorers", 4)} <= set(GRID)
    assert not {label["Least sharpness"], label["Lowest saturation"]} & set(GRID)


def test_steps_that_sharpness_needs():  # question 5
    steps = _Steps(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    steps(FILTER)
    before = {name: id(kept[1]) for name, kept in steps._kept.items()}
    steps(FILTER | {"sharp": 0.15})
    assert [n for n, kept in steps._kept.items() if id(kept[1]) != before[n]] == ["blur"]
    assert len(right("15_explorers", 5)) == 1


def test_value_that_does_not_fit():  # question 7
    panel = Panel([{"name": "least", "kind": "range", "min": 0, "max": 10, "value": 3}])
    with pytest.raises(InputError):
        panel.set(least=11)
    assert panel.values["least"] == 3 and panel.error == ""
    panel.close()
    assert right("15_explorers", 7)[0].startswith("It raises an InputError")
