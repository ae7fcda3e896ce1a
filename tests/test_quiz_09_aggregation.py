"The answers of the aggregation quiz, computed."
import numpy as np
import pandas as pd
from quizzes import right
from scipy.stats import binom

from deepslide_nb.aggregation import average_probability, choose_threshold, deepslide_vote, largest_patch, majority_vote, threshold_vote

LESSON = "09_aggregation"


def tiles(**tumour):
    "Predictions of tiles from their probabilities of tumour, by slide."
    rows = [(name, 1 - p, p) for name, values in tumour.items() for p in values]
    return pd.DataFrame(rows, columns=["slide_id", "prob_normal", "prob_tumour"])


SIX, ONE = tiles(s=[0.4] * 4 + [0.9] * 2), pd.DataFrame({"slide_id": ["s"]})


def test_average():  # question 1
    assert right(LESSON, 1) == [round(100 * average_probability(SIX, ONE)["prob_tumour"][0])]


def test_rules():  # question 2
    verdicts = {
        "the majority vote": majority_vote(SIX, ONE),
        "the average probability": average_probability(SIX, ONE),
        "DeepSlide's vote with a threshold of 0.6": deepslide_vote(SIX, ONE, 0.6),
        "at least 5 tiles with a mean confidence above 0.7": threshold_vote(SIX, ONE, "normal"),
        "at least 2 tiles with a mean confidence above 0.7": threshold_vote(SIX, ONE, "normal", least=2),
    }
    assert right(LESSON, 2) == [name for name, table in verdicts.items() if table["predicted"][0] == "tumour"]


def test_no_tiles():  # question 3
    row = majority_vote(SIX, pd.DataFrame({"slide_id": ["under the pen"]})).iloc[0]
    assert row["n_tiles"] == 0 and pd.isna(row["predicted"])
    assert right(LESSON, 3) == ["a row with 0 tiles and an empty prediction"]


def test_false_tiles():  # question 4
    assert right(LESSON, 4) == [round(binom.mean(2000, 0.01))]
    assert binom.sf(4, 2000, 0.01) > 0.99 and binom.sf(4, 50, 0.01) < 0.01


def test_threshold():  # question 6
    slides = pd.DataFrame({"slide_id": ["p", "q"], "patient_id": ["P", "Q"], "split": "valid", "label": ["tumour", "normal"]})
    best, tried = choose_threshold(tiles(p=[0.35] * 3 + [0.8] * 2, q=[0.1, 0.1, 0.3]), slides)
    assert right(LESSON, 6) == [best] and (tried["mean_accuracy"] == 1).sum() == 1


def test_patch():  # question 7
    grid = np.array([list("T.T."), list("T..."), list(".T.."), list("...T")])
    ys, xs = np.indices(grid.shape)
    places = np.c_[xs.ravel(), ys.ravel()] * 96
    assert right(LESSON, 7) == [largest_patch(places, 96, (grid == "T").ravel().astype(int), 2)[1]]
