"""The answers of the quiz of lesson 03, computed."""

import numpy as np
from quizzes import right

from deepslide_nb.tissue import is_purple, mask_share

EOSIN, GLASS = (230, 150, 190), (243, 242, 244)


def test_rows_of_purple_points():  # question 1
    def tile(rows):
        rgb = np.full((224, 224, 3), GLASS, np.uint8)
        rgb[: rows * 14] = EOSIN
        return rgb

    assert right("03_tissue", 1) == [next(rows for rows in range(17) if is_purple(tile(rows)))]


def test_flat_colours():  # question 2
    colors = {
        "eosin pink (230, 150, 190)": (230, 150, 190),
        "blue pen (30, 60, 180)": (30, 60, 180),
        "red marker (220, 30, 40)": (220, 30, 40),
        "fat (235, 228, 236)": (235, 228, 236),
        "brown of an immunostain (150, 100, 60)": (150, 100, 60),
    }
    kept = [name for name, c in colors.items() if is_purple(np.full((224, 224, 3), c, np.uint8))]
    assert right("03_tissue", 2) == kept


def test_share_of_a_window():  # question 5
    mask = np.zeros((10, 10), bool)
    mask[:, :5] = True
    share = mask_share(mask, (1000, 1000), [400], [0], 300)[0]
    [(low, high)] = right("03_tissue", 5)
    assert low <= share <= high


def test_average_with_glass():  # question 6
    assert right("03_tissue", 6) == [round(np.repeat([0.8, 0.2], [40, 60]).mean(), 2)]
