"The quiz of lesson 17: answers that can be computed."
import numpy as np
import pandas as pd
from quizzes import right

from deepslide_nb.aggregation import aggregate
from deepslide_nb.widgets import filter_slides, galleries, slide_list


def verdicts(predicted, confidence):
    "Slide predictions of two classes."
    table = pd.DataFrame({"slide_id": [f"s{i}" for i in range(len(predicted))], "method": "average", "predicted": predicted, "n_tiles": 40})
    return table.assign(prob_normal=confidence, prob_solid=1 - np.array(confidence, float))


def test_unsure_slides():  # question 1
    by_slide = verdicts(["normal"] * 5 + [None], [0.95, 0.70, 0.69, 0.55, 0.88, np.nan])
    listed = slide_list(by_slide, by_slide[["slide_id"]].assign(label="normal"))
    assert right("17_widgets", 1) == [len(filter_slides(listed, "unsure", 0.7))]


def test_wrong_slides():  # question 2
    truth = [None] * 4 + ["normal"] * 16
    by_slide = verdicts(["normal"] * 14 + ["solid"] * 5 + [None], [0.8] * 19 + [np.nan])
    listed = slide_list(by_slide, by_slide[["slide_id"]].assign(label=truth))
    assert right("17_widgets", 2) == [int(listed.right.eq(False).sum())]


def test_attention_in_multiples():  # question 4
    tiles = pd.DataFrame({"slide_id": "a", "x": np.arange(60) * 96, "y": 0, "size": 96, "prob_normal": 0.5, "prob_solid": 0.5})
    shares = np.full(60, 0.95 / 59)
    shares[7] = 0.05
    made = galleries(tiles, tiles[["slide_id", "x", "y", "size"]].assign(gated=shares))["highest gated"]
    ((low, high),) = right("17_widgets", 4)
    assert made.x.iloc[0] == 7 * 96 and low < made.times.iloc[0] < high


def test_average_of_a_small_tumour():  # question 5
    solid = np.array([0.9] * 10 + [0.1] * 30)
    tiles = pd.DataFrame({"slide_id": "a", "x": np.arange(40) * 96, "y": 0, "size": 96, "prob_normal": 1 - solid, "prob_solid": solid})
    made = aggregate(tiles, pd.DataFrame({"slide_id": ["a"], "label": "solid"}), ["average"]).iloc[0]
    ((low, high),) = right("17_widgets", 5)
    assert low < made.prob_solid < high and made.predicted == "normal"


def test_gallery_of_the_class_that_was_said():  # question 3
    solid = np.array([0.9] * 20 + [0.3] * 10)
    tiles = pd.DataFrame({"slide_id": "a", "x": np.arange(30) * 96, "y": 0, "size": 96, "prob_acinar": 1 - solid, "prob_solid": solid})
    (name,) = right("17_widgets", 3)
    assert set(galleries(tiles)[name].predicted) == {"solid"}
