"The quiz of lesson 13: answers that can be computed."
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from quizzes import right

from deepslide_nb.overlays import _levels, add_scale_bar, class_layer, pick_tiles, tile_raster


def test_length_of_the_bar():  # question 1
    ax = plt.figure().add_subplot()
    add_scale_bar(ax, 0.25, 40, 1000)
    assert ax.texts[0].get_text() == "2 mm"
    start, end = ax.lines[0].get_xdata()
    plt.close(ax.figure)
    assert np.allclose(right("13_overlays", 1), (end - start) * 1000)


def test_share_of_the_lowest_tile():  # question 2
    seen = np.zeros(3)
    for tile in np.eye(3):
        seen = 0.5 * tile + 0.5 * seen
    assert right("13_overlays", 2) == [seen[0]]


def test_opacity_of_a_doubtful_tile():  # question 3
    opacity = class_layer(np.array([[[0.6, 0.25, 0.15]]]), ["red", "green", "blue"], 0.6)[0, 0, 3]
    [[low, high]] = right("13_overlays", 3)
    assert low < opacity < high


def test_order_does_not_matter():  # question 4
    tiles = pd.DataFrame({"x": [0, 50], "y": 0, "size": 100})
    one, other = (tile_raster(t, v, (200, 100), (2, 4)) for t, v in ((tiles, np.array([0.0, 1])), (tiles[::-1], np.array([1.0, 0]))))
    assert np.array_equal(one, other, equal_nan=True)
    assert "Where tiles overlap, the order of the table does not matter" in right("13_overlays", 4)


def test_levels_of_a_heatmap():  # question 6
    assert right("13_overlays", 6) == [len(_levels((100_000, 80_000), 8))]


def test_attention_in_even_shares():  # question 7
    parts = [np.r_[0.010, np.full(499, 0.99 / 499)], np.r_[0.040, np.full(49, 0.96 / 49)]]
    tiles = pd.DataFrame({"slide_id": ["A"] * 500 + ["B"] * 50, "attention": np.concatenate(parts)})
    assert np.allclose(right("13_overlays", 7), pick_tiles(tiles, "attention", 1)["times"])
