"The answers of the quiz of lesson 11 that can be computed."
import numpy as np
import pandas as pd
from quizzes import right

from deepslide_nb.evaluation import agreement, compare_pair, confusion, scores

QUIZ = "11_evaluation"


def binary(tumour, normal):
    "A table of tumour and normal slides with these probabilities of tumour."
    prob = np.array([*tumour, *normal], float)
    label = ["tumour"] * len(tumour) + ["normal"] * len(normal)
    return pd.DataFrame({"label": label, "prob_normal": 1 - prob, "prob_tumour": prob})


def inside(value, answers):
    "Whether a value lies in the one range that is right."
    ((low, high),) = answers
    return low <= value <= high


def test_recall_counts_the_slide_without_an_answer():  # question 1
    truth = ["normal"] * 9 + ["tumour"] * 5
    said = ["normal"] * 6 + ["tumour"] * 3 + ["tumour"] * 3 + ["normal", None]
    row = confusion(truth, said).loc["tumour"]
    assert right(QUIZ, 1) == [row["tumour"] / row.sum()]


def test_auc_of_eight_pairs():  # question 3
    assert right(QUIZ, 3) == [scores(binary([0.9, 0.4], [0.5, 0.4, 0.2, 0.1]))["classes"]["tumour"]["auc"]]


def test_ten_times_as_many_normal_slides():  # question 4
    rng = np.random.default_rng(0)
    tumour, normal = rng.normal(0.6, 0.1, 20), rng.normal(0.4, 0.1, 40)
    few, many = (scores(binary(tumour, np.tile(normal, n)))["classes"]["tumour"] for n in (1, 10))
    assert abs(few["auc"] - many["auc"]) < 1e-9 and many["average_precision"] < few["average_precision"] - 0.05
    assert right(QUIZ, 4) == ["The AUC stays about the same, the average precision falls."]


def test_wilson_of_nine_of_nine():  # question 5
    table = pd.DataFrame({"slide_id": range(9), "label": "a", "predicted": "a", "prob_a": 0.9, "prob_b": 0.1})
    found = scores(table, table[["slide_id"]].assign(patient_id=range(9)), resamples=10)
    assert inside(found["intervals"]["accuracy"][0], right(QUIZ, 5))


def test_mcnemar_of_six_slides():  # question 6
    slides = pd.DataFrame({"slide_id": range(40), "label": "a", "prob_a": 0.5, "prob_b": 0.5})
    said = {"first": np.arange(40) < 36, "second": np.arange(40) < 30}
    both = [slides.assign(method=m, predicted=np.where(hit, "a", "b")) for m, hit in said.items()]
    found = compare_pair(pd.concat(both), "first", "second", slides[["slide_id"]], resamples=10)
    assert (found["only_first_right"], found["only_second_right"]) == (6, 0)
    assert inside(found["p_mcnemar"], right(QUIZ, 6))


def test_kappa_of_two_readers():  # question 7
    first = ["normal"] * 60 + ["tumour"] * 30 + ["normal"] * 10
    second = ["normal"] * 60 + ["tumour"] * 20 + ["normal"] * 10 + ["tumour"] * 10
    table = pd.DataFrame({"slide_id": range(100), "pathologist_A": first, "pathologist_B": second})
    pairs, _ = agreement(table, resamples=10)
    assert abs(pairs["percent"][0] - 80) < 1e-9
    assert inside(pairs["kappa"][0], right(QUIZ, 7))
