"The quiz of lesson 05: answers that can be computed."
import numpy as np
import pandas as pd
import pytest
import shapely
from quizzes import right

from deepslide_nb.annotations import label_tiles, region_share, write_geojson


@pytest.fixture
def drawn(tmp_path):
    "A function that labels one tile of side 100 by regions: name, left and right edge of a full-height stripe."

    def label(*regions, **rules):
        areas = [shapely.box(left, 0, right_, 100) for _, left, right_ in regions]
        write_geojson(pd.DataFrame({"name": [r[0] for r in regions], "geometry": areas}), tmp_path / "s.geojson")
        tile = pd.DataFrame({"slide_id": ["s"], "x": [0], "y": [0], "size": [100]})
        slides = pd.DataFrame({"slide_id": ["s"], "label": ["solid"], "annotations": [str(tmp_path / "s.geojson")]})
        return label_tiles(tile, slides, **rules)["label"].iloc[0]

    return label


def test_share_beside_a_hole():  # question 1
    region = shapely.box(0, 0, 90, 90) - shapely.box(30, 30, 60, 60)
    assert right("05_annotations", 1) == [100 * region_share([0], [0], 60, region)[0]]


def test_tile_between_two_classes(drawn):  # question 2
    label = drawn(("solid", 0, 45), ("acinar", 45, 75), region_min=0.5, outside="class:normal")
    assert pd.isna(label) and right("05_annotations", 2) == ["It gets no label"]


def test_wrong_labels_of_a_slide():  # question 5
    truth = np.array(["tumour"] * 15 + ["normal"] * 45)
    assert right("05_annotations", 5) == [100 * (truth != "tumour").mean()]


def test_average_of_a_careful_classifier():  # question 6
    assert right("05_annotations", 6) == [pytest.approx(np.mean([0.9] * 20 + [0.1] * 80))]


def test_centre_of_striped_tiles():  # question 7: nearly equal shares, different answers
    comb = shapely.union_all([shapely.box(0, 24 * i, 300, 24 * i + 9.6) for i in range(13)])
    y = np.arange(0, 300, 60)
    centres = [comb.contains(shapely.Point(30, top + 30)) for top in y]
    assert np.ptp(region_share(np.zeros(5), y, 60, comb)) < 0.2 and len(set(centres)) == 2
    assert right("05_annotations", 7)[0].startswith("Some tiles")
