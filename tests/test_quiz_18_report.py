"The quiz of lesson 18: answers that can be computed."
import json

import numpy as np
import pandas as pd
from quizzes import right

from deepslide_nb.evaluation import compare_pair, scores
from deepslide_nb.report import FLATTER, data_uri, interval_text, judged_slides, most_wrong, percent, write_json


def verdicts(label, predicted, method="average"):
    "Slide predictions of two classes."
    table = pd.DataFrame({"slide_id": [f"s{i:02d}" for i in range(len(label))], "label": label, "method": method, "predicted": predicted, "n_tiles": 40})
    for name in ("normal", "solid"):
        table[f"prob_{name}"] = np.where(table.predicted == name, 0.8, 0.2)
        table.loc[table.predicted.isna(), f"prob_{name}"] = np.nan
    return table


def test_slides_that_are_judged():  # question 1
    slides = pd.DataFrame({"slide_id": range(33), "split": ["train"] * 24 + ["valid"] * 9})
    split, chosen = judged_slides(slides)
    assert (split, len(chosen)) == ("valid", 9) and "flatter" in FLATTER[split]
    assert "validation slides" in right("18_report", 1)[0] and "flatter" in right("18_report", 1)[0]


def test_accuracy_with_silent_slides():  # question 2
    table = verdicts(["solid"] * 12, ["solid"] * 8 + ["normal"] * 2 + [None] * 2)
    assert [f"{v} %" for v in right("18_report", 2)] == [percent(scores(table)["accuracy"])]


def test_mcnemar():  # question 3
    truth = ["normal", "solid"] * 10
    other = ["solid", "normal"] * 10
    first = [o if i == 6 else t for i, (t, o) in enumerate(zip(truth, other))]
    second = [o if i < 6 else t for i, (t, o) in enumerate(zip(truth, other))]
    tables = pd.concat([verdicts(truth, first, "attention"), verdicts(truth, second)], ignore_index=True)
    slides = tables[["slide_id", "label"]].drop_duplicates().assign(patient_id=lambda t: t.slide_id)
    found = compare_pair(tables, "attention", "average", slides, resamples=20)
    assert (found["only_first_right"], found["only_second_right"]) == (6, 1)
    ((low, high),) = right("18_report", 3)
    assert low < found["p_mcnemar"] < high


def test_tiles_of_two_slides():  # question 5
    table = pd.DataFrame({"slide_id": ["a"] * 30 + ["b"] * 10, "x": range(40), "y": 0, "size": 96, "label": "solid"})
    table["prob_solid"] = np.linspace(0.01, 0.4, 40)
    table["prob_normal"] = 1 - table.prob_solid
    assert right("18_report", 5) == [len(most_wrong(table, 18, 4))]


def test_size_of_a_picture(tmp_path):  # question 6
    (tmp_path / "a.png").write_bytes(bytes(30_000))
    assert right("18_report", 6) == [len(data_uri(tmp_path / "a.png").removeprefix("data:image/png;base64,"))]


def test_numbers_that_are_none(tmp_path):  # question 7
    assert json.dumps(float("nan")) == "NaN"
    write_json({"auc": float("nan")}, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text().split() == ["{", '"auc":', "null", "}"]
    assert "NaN" in right("18_report", 7)[0] and "null" in right("18_report", 7)[0]


def test_nine_of_nine():  # question 8
    table = verdicts(["solid"] * 9, ["solid"] * 9)
    slides = table[["slide_id", "label"]].assign(patient_id=["p0"] * 5 + ["p1", "p2", "p3", "p4"])
    found = scores(table, slides, resamples=50)
    assert found["n_patients"] == 5 and interval_text(found["intervals"]["accuracy"], percent=True) in right("18_report", 8)[0]
