"""Evaluation: numbers against scikit-learn, what is undefined, and pictures with few and many classes."""

import json

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from deepslide_nb.evaluation import NO_EVIDENCE, confusion, plot_confusion, plot_roc, roc, score_table, scores
from deepslide_nb.settings import InputError

matplotlib.use("agg")
pytestmark = pytest.mark.filterwarnings("error")


def table_of(n=60, k=3, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"class {i}_/ü" for i in range(k)]
    label = rng.integers(0, k, n)
    label[:k] = range(k)
    probs = rng.dirichlet(np.ones(k), n)
    probs[np.arange(n), label] += 0.3
    table = pd.DataFrame(probs / probs.sum(1, keepdims=True), columns=[f"prob_{c}" for c in names])
    table["predicted"] = np.array(names, dtype=object)[probs.argmax(1)]
    table["label"] = np.array(names, dtype=object)[label]
    return table, names


@pytest.mark.parametrize("k", [2, 3, 9])
def test_against_scikit_learn(k):
    table, names = table_of(90, k)
    found, truth, predicted = scores(table), table["label"], table["predicted"]
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    report = metrics.classification_report(truth, predicted, output_dict=True)
    for name in names:
        ours, theirs = found["classes"][name], report[name]
        assert [ours[v] for v in ("precision", "recall", "f1", "support")] == pytest.approx(
            [theirs[v] for v in ("precision", "recall", "f1-score", "support")]
        )
        assert ours["auc"] == pytest.approx(metrics.roc_auc_score(truth == name, table[f"prob_{name}"]))
        assert ours["why"] == {}
    for ours, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
        assert found[f"macro_{ours}"] == pytest.approx(report["macro avg"][theirs])
    assert found["confusion"]["counts"] == metrics.confusion_matrix(truth, predicted).tolist()
    assert list(score_table(found).index) == names


def test_no_evidence_counts_as_wrong_and_is_shown():
    table, names = table_of()
    full = scores(table)
    hidden = table.copy()
    right = table.index[table["label"] == table["predicted"]][:5]
    hidden.loc[right, ["predicted", *[f"prob_{c}" for c in names]]] = np.nan
    found = scores(hidden)
    assert found["n"] == 60 and found["n_no_evidence"] == 5
    assert found["accuracy"] == pytest.approx(full["accuracy"] - 5 / 60)
    assert found["confusion"]["predicted"][-1] == NO_EVIDENCE
    assert sum(row[-1] for row in found["confusion"]["counts"]) == 5
    lost = table.loc[right[0], "label"]
    assert found["classes"][lost]["auc"] < full["classes"][lost]["auc"]


def test_tiles_have_no_predicted_column():
    table, _ = table_of()
    assert scores(table.drop(columns="predicted")) == scores(table)


def test_unknown_truth_is_left_out_and_counted():
    table, _ = table_of()
    table.loc[:9, "label"] = None
    found = scores(table)
    assert (found["n"], found["n_unknown"]) == (50, 10)
    assert found["accuracy"] == scores(table[10:])["accuracy"]


def plain(value):
    return json.loads(json.dumps(value, allow_nan=False)) == value


def test_undefined_is_none_with_a_reason():
    table, names = table_of()
    one = scores(table[table["label"] == names[0]].assign(predicted=names[0]))
    assert plain(one) and one["macro_auc"] is None and one["why"]["macro_auc"]
    first, second = one["classes"][names[0]], one["classes"][names[1]]
    assert first["precision"] == first["recall"] == 1 and first["auc"] is None and "auc" in first["why"]
    assert second["precision"] is second["recall"] is second["f1"] is second["auc"] is None
    assert set(second["why"]) == {"precision", "recall", "f1", "auc", "average_precision"}
    assert one["macro_recall"] == 1


def test_no_predictions_and_no_rows():
    table, names = table_of()
    none = scores(table.assign(predicted=None, **{f"prob_{c}": np.nan for c in names}))
    assert plain(none) and none["accuracy"] == 0 and none["classes"][names[0]]["precision"] is None
    assert none["classes"][names[0]]["f1"] == 0
    for empty in (scores(table[:0]), scores(table.assign(label=None)), scores(table.drop(columns="label"))):
        assert plain(empty) and empty["accuracy"] is None and empty["why"]["accuracy"]


def test_a_class_that_the_model_does_not_know():
    table, names = table_of()
    found = scores(table.assign(label=["new"] * 20 + table["label"].tolist()[20:]))
    assert plain(found) and found["classes"]["new"]["recall"] == 0
    assert found["classes"]["new"]["auc"] is None and "not know" in found["classes"]["new"]["why"]["auc"]


def test_several_methods_are_refused():
    table, _ = table_of()
    with pytest.raises(InputError, match="one method at a time"):
        scores(table.assign(method=["average", "majority"] * 30))


def test_roc_without_evidence_is_missed_until_the_end():
    table = pd.DataFrame(
        {
            "label": ["a", "a", "b", "b"],
            "predicted": ["a", None, "b", "b"],
            "prob_a": [0.9, None, 0.0, 0.2],
            "prob_b": [0.1, None, 1.0, 0.8],
        }
    )
    curve = roc(table, "a")
    assert curve.loc[curve["threshold"] >= 0, "true_positive_rate"].max() == 0.5
    with pytest.raises(ValueError, match="no such slides"):
        roc(table.assign(label="b"), "a")


def test_confusion_keeps_the_order_and_all_rows():
    matrix = confusion(["b", "a", "c"], ["b", None, "d"], ["b", "a"])
    assert list(matrix.index) == ["b", "a", "c", "d"] and list(matrix.columns) == [
        "b",
        "a",
        "c",
        "d",
        NO_EVIDENCE,
    ]
    assert matrix.to_numpy().sum() == 3 and matrix.loc["a", NO_EVIDENCE] == 1
    assert confusion([], [], ["a"]).to_numpy().tolist() == [[0]]


@pytest.mark.parametrize("k", [2, 9])
def test_pictures_draw(tmp_path, k):
    table, names = table_of(90, k)
    table = table.rename(columns={f"prob_{names[0]}": "prob_" + "long name " * 12}).replace(
        {names[0]: "long name " * 12}
    )
    table.loc[0, [c for c in table if c.startswith("prob_")] + ["predicted"]] = np.nan
    for ax in (
        plot_confusion(confusion(table["label"], table["predicted"])),
        plot_roc(table),
        plot_roc(table[:1]),
    ):
        ax.figure.savefig(tmp_path / "x.png")
        matplotlib.pyplot.close(ax.figure)
