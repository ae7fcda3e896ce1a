"The quiz of lesson 14: answers that can be computed."
from types import SimpleNamespace

import numpy as np
import pandas as pd
from quizzes import right

from deepslide_nb.viewer import VIEW_TILE, _tile_at, layer_size, tile_jpeg, view_levels


def test_number_of_levels():  # question 1
    slide = SimpleNamespace(dimensions=(131_072, 65_536), level_downsamples=(1.0, 4.0, 16.0, 64.0))
    assert right("14_viewer", 1) == [len(view_levels(slide))]


def test_where_a_square_begins():  # question 2
    asked = []

    def area(x, y, w, h, out_w, out_h):
        asked.append(x)
        return np.zeros((out_h, out_w, 3), np.uint8)

    slide = SimpleNamespace(path="a.svs", dimensions=(8 * VIEW_TILE * 4, 4000), level_downsamples=(1.0, 4.0), area=area)
    tile_jpeg(slide, view_levels(slide).index(4.0), 3, 0)
    assert right("14_viewer", 2) == asked


def test_tile_under_a_click():  # question 4
    tiles = pd.DataFrame({"x": [0, 60], "y": 0, "size": 100})
    assert right("14_viewer", 4) == [_tile_at(tiles, 75, 50).x]


def test_height_of_a_layer():  # question 7
    assert right("14_viewer", 7) == [layer_size((100_000, 50_000), pd.DataFrame({"size": [200]}))[0]]
