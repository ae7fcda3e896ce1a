"""The answers of the quiz of lesson 00, computed."""

import re

import pytest
from quizzes import right

from deepslide_nb.settings import InputError, load_settings, safe_name, whole_file


def test_whose_value_wins(tmp_path):  # question 1
    own = tmp_path / "settings.ini"
    own.write_text("[DEFAULT]\ntile_px = 128\n[classroom]\ntile_px = 64\n")
    assert load_settings(profile="classroom").tile_px == 96 and load_settings(profile="full").tile_px == 224
    assert right("00_settings", 1) == [load_settings(own, "full").tile_px]


def test_refused_changes():  # question 2
    changes = {
        "`tissue_min = 1`": {"tissue_min": 1},
        "`overlap = 1`": {"overlap": 1},
        "`aggregation = threshold`": {"aggregation": "threshold"},
        "`aggregation = average, logistic`": {"aggregation": "average, logistic"},
        "`test_share = 0.6` and `valid_share = 0.4`": {"test_share": 0.6, "valid_share": 0.4},
    }
    refused = []
    for text, change in changes.items():
        try:
            load_settings(**change)
        except InputError:
            refused.append(text)
    assert right("00_settings", 2) == refused


def test_microns_of_a_tile():  # question 3
    settings = load_settings(profile="full")
    assert right("00_settings", 3) == [settings.tile_px * settings.mpp]


def test_interrupted_file(tmp_path):  # question 4
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as tmp:
        tmp.write_text("half of the n")
        assert path.read_text() == "old" and tmp != path
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert right("00_settings", 4)[0].startswith("The older table")


def test_names_with_one_start():  # question 5
    names = [safe_name("a/b"), safe_name("a-b")]
    assert {re.sub("-[0-9a-f]{10}$", "", n) for n in names} == {"a-b"} and len(set(names)) == 2
    assert "readable starts are the same" in right("00_settings", 5)[0]


def test_unknown_setting(tmp_path):  # question 6
    (tmp_path / "mine.ini").write_text("[classroom]\ntile_size = 128\n")
    with pytest.raises(InputError, match="mine.ini: there is no setting 'tile_size'; the settings are profile, tile_px, mpp, "):
        load_settings(tmp_path / "mine.ini")
    assert right("00_settings", 6) == ["In mine.ini, call it tile_px."]
