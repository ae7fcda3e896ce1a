"The quiz of lesson 16: answers that can be computed."
import numpy as np
import pandas as pd
from quizzes import right

from deepslide_nb.tile_browser import Corrections, TileBrowser, find_tiles


def test_pages():  # question 1
    tiles = pd.DataFrame({"slide_id": "a", "x": range(20_000), "y": 0, "size": 96, "label": "normal"})
    browser = TileBrowser(tiles, pd.DataFrame({"slide_id": ["a"], "path": ["never opened.svs"]}))
    pages = browser.pages
    browser.close()
    assert right("16_tile_browser", 1) == [pages]


def test_two_filters():  # question 2
    table = pd.DataFrame({"tissue": [0.4, 0.5, np.nan, 0.6, 0.55], "label": ["acinar", None, "acinar", "normal", None]})
    assert right("16_tile_browser", 2) == [len(find_tiles(table, {"label": None, "tissue": (None, 0.55)}))]


def test_missing_comes_last():  # question 3
    table = pd.DataFrame({"prob_solid": [0.2, np.nan, 0.9]})
    assert list(find_tiles(table, sort="prob_solid", descending=True)) == [2, 0, 1]
    assert right("16_tile_browser", 3) == ["Last"]


def test_two_steps_back():  # question 4
    corrections = Corrections(pd.DataFrame({"label": ["normal"]}))
    for name in ("acinar", "solid"):
        corrections.relabel([0], name)
    corrections.reject([0])
    for _ in range(2):
        corrections.undo()
    row = corrections.table.iloc[0]
    assert right("16_tile_browser", 4) == [f"{row.label}, {'' if row.rejected else 'not '}rejected"]


def test_tiles_for_training():  # question 7
    corrections = Corrections(pd.DataFrame({"label": ["normal"] * 2180}))
    corrections.relabel(range(15), "acinar")
    corrections.reject(range(10, 50))
    assert right("16_tile_browser", 7) == [(~corrections.table.rejected).sum()]
