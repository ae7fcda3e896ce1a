"""Evaluation: numbers against scikit-learn, what is undefined, and pictures with few and many classes."""

import importlib.util
import json
import time
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics

from deepslide_nb import evaluation
from deepslide_nb.evaluation import (
    NO_EVIDENCE,
    agreement,
    calibration,
    compare_aggregators,
    compare_pair,
    confusion,
    minor_agreement,
    plot_agreement,
    plot_calibration,
    plot_comparison,
    plot_confusion,
    plot_pr,
    plot_roc,
    plot_rocs,
    precision_recall,
    roc,
    score_table,
    scores,
)
from deepslide_nb.settings import InputError

matplotlib.use("agg")
BENCH = Path(__file__).parent / "bench"
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


def weighted(table, slides, seed=0, rows=4):
    "(weight of every row for each of some resamples, our scores for them)."
    known = evaluation._known(table)
    patient, n = evaluation._patient_numbers(known, slides)
    weights = evaluation._resamples(n, rows, seed)
    names = evaluation.class_columns(table)
    return weights[:, patient], *evaluation._draws(known, names, patient, weights)


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("ties", [False, True])
def test_weighted_scores_are_those_of_scikit_learn(k, ties):
    "Every score of every resample, to 1e-12, also where many probabilities are equal."
    table, names = table_of(300, k, seed=k)
    if ties:
        columns = [f"prob_{c}" for c in names]
        table[columns] = table[columns].round(1)
    table["slide_id"] = np.arange(300)
    slides = pd.DataFrame({"slide_id": np.arange(300), "patient_id": np.arange(300) // 3})
    truth, said = table["label"], table["predicted"]
    all_weights, one, of_class = weighted(table, slides)
    for i, w in enumerate(all_weights):
        theirs = {
            "accuracy": metrics.accuracy_score(truth, said, sample_weight=w),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, said, sample_weight=w),
        }
        options = {"labels": names, "zero_division": 0, "sample_weight": w}
        for kind in ("macro", "micro"):
            found = metrics.precision_recall_fscore_support(truth, said, average=kind, **options)
            theirs |= dict(zip((f"{kind}_precision", f"{kind}_recall", f"{kind}_f1"), found))
        found = metrics.precision_recall_fscore_support(truth, said, **options)
        per_class = dict(zip(("precision", "recall", "f1"), found))
        confused = metrics.multilabel_confusion_matrix(truth, said, labels=names, sample_weight=w)
        per_class["specificity"] = confused[:, 0, 0] / confused[:, 0].sum(1)
        for key, function in (
            ("auc", metrics.roc_auc_score),
            ("average_precision", metrics.average_precision_score),
            ("brier", metrics.brier_score_loss),
        ):
            per_class[key] = [function(truth == c, table[f"prob_{c}"], sample_weight=w) for c in names]
        for key in ("specificity", "auc", "average_precision"):
            theirs[f"macro_{key}"] = np.mean(per_class[key])
        theirs["brier"] = np.sum(per_class["brier"]) / 2
        assert {key: one[key][i] for key in one} == pytest.approx(theirs, abs=1e-12)
        for key, values in per_class.items():
            assert of_class[key][i] == pytest.approx(np.array(values), abs=1e-12)


@pytest.mark.parametrize("k", [2, 5])
def test_scores_are_scikit_learn_s_and_weights_of_one_change_nothing(k):
    table, names = table_of(200, k, seed=1)
    table["slide_id"] = np.arange(200)
    found = scores(table)
    truth, columns = table["label"], [f"prob_{c}" for c in names]
    if k > 2:
        whole = metrics.brier_score_loss(truth, table[columns], labels=names, scale_by_half=True)
        assert found["brier"] == pytest.approx(whole, abs=1e-12)
        auc = metrics.roc_auc_score(truth, table[columns], multi_class="ovr", labels=names)
        assert found["macro_auc"] == pytest.approx(auc, abs=1e-12)
    known = evaluation._known(table)
    one, of_class = evaluation._draws(known, names, np.arange(200), np.ones((1, 200)))
    assert {key: v[0] for key, v in one.items()} == pytest.approx({key: found[key] for key in one}, abs=1e-12)
    for key, values in of_class.items():
        ours = [found["classes"][c][key] for c in names]
        assert values[0] == pytest.approx(np.array(ours), abs=1e-12)


def study(n=30, k=3, seed=0, per_patient=2):
    table, names = table_of(n, k, seed)
    table.insert(0, "slide_id", [f"s/{i}" for i in range(n)])
    slides = table[["slide_id"]].assign(patient_id=[f"p{i // per_patient}" for i in range(n)])
    return table, slides, names


def test_intervals_are_there_for_every_score_and_hold_it():
    table, slides, names = study()
    found = scores(table, slides, resamples=500)
    assert plain(found) and found["n_patients"] == 15
    keys = {"accuracy", "balanced_accuracy", "brier", "micro_f1", "macro_f1", "macro_auc", "macro_specificity"}
    assert keys <= set(found["intervals"])
    for part in (found, *found["classes"].values()):
        for key, ends in part["intervals"].items():
            assert ends is None and part["why"][f"{key}_interval"] or 0 <= ends[0] <= part[key] <= ends[1] <= 1
    without = scores(table)
    assert all(found[key] == value for key, value in without.items() if key not in ("why", "classes"))
    assert scores(table, slides, resamples=500) == found
    assert scores(table.sample(frac=1, random_state=0), slides, resamples=500)["intervals"] == found["intervals"]
    assert score_table(found, intervals=True)["auc_low"].notna().all()


def test_patients_are_drawn_not_rows():
    "The same slides ten times over are no more evidence, and tiles are judged by their slide's patient."
    table, slides, _ = study(40)
    tiles = pd.concat([table] * 10, ignore_index=True)
    once, tenfold = scores(table, slides, 400), scores(tiles, slides, 400)
    for key, ends in once["intervals"].items():
        assert tenfold["intervals"][key] == pytest.approx(ends)
    alone = scores(table, slides.drop(columns="patient_id"), 400)
    assert alone["n_patients"] == 40


def test_all_right_gets_wilson_or_no_interval():
    table, slides, names = study(18)
    for name in names:
        table[f"prob_{name}"] = (table["label"] == name) * 1.0
    found = scores(table.assign(predicted=table["label"]), slides, 200)
    wilson = stats.binomtest(9, 9).proportion_ci(method="wilson")
    assert found["intervals"]["accuracy"] == pytest.approx([wilson.low, wilson.high])
    assert "Wilson" in found["why"]["accuracy_interval"]
    low, high = found["intervals"]["balanced_accuracy"]
    assert 0.4 < low < 0.95 and high == 1
    assert found["intervals"]["macro_auc"] is None and "same in every" in found["why"]["macro_auc_interval"]
    one = scores(table, slides.assign(patient_id="p"), 200)
    assert one["intervals"]["brier"] is None and one["intervals"]["accuracy"][0] < 0.5


def test_intervals_with_lost_slides_unknown_classes_and_bad_tables():
    table, slides, names = study(30)
    table.loc[:3, ["predicted", *[f"prob_{c}" for c in names]]] = np.nan
    table.loc[4, "label"] = "new"
    found = scores(table, slides, 200)
    assert plain(found) and found["n_no_evidence"] == 4
    assert found["classes"]["new"]["intervals"]["auc"] is None
    assert plain(scores(table.assign(label=names[0]), slides, 200))
    assert plain(scores(table[:1], slides, 200)) and plain(scores(table[:0], slides, 200))
    with pytest.raises(InputError, match="'s/29' is not in the slides table"):
        scores(table, slides[:29], 200)
    with pytest.raises(InputError, match="'s/0' occurs twice"):
        scores(table, pd.concat([slides, slides[:1]]), 200)


def test_many_tiles_are_quick():
    "20,000 tiles of 100 slides; 2,000 resamples take 3 seconds of one core."
    rng = np.random.default_rng(0)
    tiles = pd.DataFrame(rng.dirichlet(np.ones(3), 20_000), columns=["prob_a", "prob_b", "prob_c"])
    tiles["label"], tiles["slide_id"] = rng.choice(list("abc"), 20_000), rng.integers(0, 100, 20_000)
    slides = pd.DataFrame({"slide_id": range(100), "patient_id": np.arange(100) // 2})
    start = time.process_time()
    scores(tiles, slides)
    assert time.process_time() - start < 20


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_coverage", BENCH / "bench_coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["three even classes", "two classes, 80 : 20"])
def test_intervals_hold_the_truth(bench, kind):
    """80 simulated tables of 30 patients. If an interval holds the truth in 95 of 100, fewer than 69 or so of 80 have a
    chance of 1 in 1,000; the full trial of 500 is tests/bench/bench_coverage.py."""
    found = bench.coverage(*bench.KINDS[kind], 30, tables=80, resamples=400, pairs=False)
    ours = found.xs("ours", level="interval")
    least = stats.binom.ppf(0.001, ours["tables"] - ours["none"], 0.95)
    assert (ours["holds %"] / 100 * (ours["tables"] - ours["none"]) >= least).all()
    assert (ours["none"] < 10).all()
    assert (ours["width"] < 0.35).all()  # not by being endless


def methods_of(n=30, seed=0):
    table, slides, names = study(n, seed=seed)
    rng = np.random.default_rng(seed)
    said = np.where(rng.random(n) < 0.5, table["predicted"], rng.choice(names, n))
    worse = table.assign(predicted=said, method="worse", **{f"prob_{c}": rng.random(n) for c in names})
    return pd.concat([table.assign(method="better"), worse], ignore_index=True), slides


def test_compare_aggregators_is_scores_of_each_method():
    by_slide, slides = methods_of()
    found = compare_aggregators(by_slide, slides, 300)
    assert list(found) == ["method", "metric", "value", "low", "high"] and len(found) == 10
    for method, rows in found.groupby("method"):
        table = by_slide[by_slide["method"] == method]
        alone = scores(table.reset_index(drop=True), slides, 300)
        for row in rows.itertuples():
            assert row.value == pytest.approx(alone[row.metric], abs=1e-12)
            assert [row.low, row.high] == pytest.approx(alone["intervals"][row.metric])
    fewer = compare_aggregators(by_slide, slides[:10], 300)
    assert (fewer["value"] != found["value"]).any()
    with pytest.raises(InputError, match="worse does not have the same slides"):
        compare_aggregators(by_slide[:-1], slides, 300)
    assert len(compare_aggregators(by_slide.assign(label=None), slides, 300)) == 10


def test_compare_pair():
    by_slide, slides = methods_of(60)
    found = compare_pair(by_slide, "better", "worse", slides, 500)
    assert plain(found)
    right = by_slide.assign(right=by_slide["predicted"] == by_slide["label"]).pivot(
        index="slide_id", columns="method", values="right"
    )
    only = [(right["better"] & ~right["worse"]).sum(), (right["worse"] & ~right["better"]).sum()]
    assert [found["only_first_right"], found["only_second_right"]] == only
    assert found["p_mcnemar"] == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)
    for key, value in found["difference"].items():
        low, high = found["intervals"][key]
        assert -1 <= low < value < high <= 1
    back = compare_pair(by_slide, "worse", "better", slides, 500)
    assert back["difference"]["accuracy"] == -found["difference"]["accuracy"]
    assert back["intervals"]["macro_auc"] == pytest.approx([-v for v in found["intervals"]["macro_auc"][::-1]])
    alone = [scores(t.reset_index(drop=True), slides, 500) for _, t in by_slide.groupby("method")]
    apart = alone[0]["intervals"]["accuracy"][1] - alone[1]["intervals"]["accuracy"][0]
    assert found["intervals"]["accuracy"][1] < apart  # pairing helps


def test_compare_pair_without_a_difference_or_a_truth():
    by_slide, slides = methods_of(20)
    twice = pd.concat([by_slide[:20], by_slide[:20].assign(method="same")], ignore_index=True)
    found = compare_pair(twice, "better", "same", slides, 200)
    assert plain(found) and found["p_mcnemar"] == 1 and found["n_discordant"] == 0
    low, high = found["intervals"]["accuracy"]
    assert low == -high and 0 < high < 0.5 and "Wilson" in found["why"]["accuracy_interval"]
    assert found["intervals"]["macro_auc"] is None
    unknown = compare_pair(by_slide.assign(label=None), "better", "worse", slides, 200)
    assert plain(unknown) and unknown["difference"]["accuracy"] is None and unknown["n"] == 0
    with pytest.raises(InputError, match="no predictions by 'best'"):
        compare_pair(by_slide, "better", "best", slides)


def readers(n=60, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.choice(["a", "b", "c"], n)
    slides = pd.DataFrame({"slide_id": [f"s{i}" for i in range(n)], "patient_id": np.arange(n) // 2})
    for name in "XYZ":
        slides[f"pathologist_{name}"] = np.where(rng.random(n) < 0.7, truth, rng.choice(["a", "b", "c"], n))
    table = slides[["slide_id"]].assign(predicted=truth, label=truth)
    return slides, table


def test_agreement_is_scikit_learn_s_and_wei_s():
    slides, table = readers()
    slides.loc[:9, "pathologist_Z"] = None  # not read
    table.loc[[0, 1], "predicted"] = None  # no evidence
    pairs, annotators = agreement(slides, table, resamples=300)
    assert len(pairs) == 6 and list(annotators["annotator"]) == ["X", "Y", "Z", "model"]
    said = {c: slides[f"pathologist_{c}"] for c in "XYZ"} | {"model": table["predicted"].fillna("none")}
    for row in pairs.itertuples():
        both = said[row.first].notna() & said[row.second].notna()
        a, b = said[row.first][both], said[row.second][both]
        assert row.n == both.sum()
        assert row.percent == pytest.approx(100 * (a == b).mean(), abs=1e-12)
        assert row.kappa == pytest.approx(metrics.cohen_kappa_score(a, b), abs=1e-12)
        assert row.percent_low < row.percent < row.percent_high and row.kappa_low < row.kappa < row.kappa_high
    annotators = annotators.set_index("annotator")
    of_model = pairs[pairs["second"] == "model"]
    assert annotators.loc["model", "kappa"] == pytest.approx(of_model["kappa"].mean())
    assert annotators.loc["model", "n_no_evidence"] == 2 and annotators.loc["X", "n_no_evidence"] == 0
    equal = sum((said[c] == said["model"]).astype(int) for c in "XYZ")
    assert annotators.loc["model", "robust"] == pytest.approx(100 * (equal >= 2).mean())
    assert annotators.loc["Z", "n_robust"] == 50


def test_agreement_of_two_has_no_robust_agreement():
    slides, _ = readers()
    pairs, annotators = agreement(slides.drop(columns="pathologist_Z"), resamples=200)
    assert len(pairs) == 1 and annotators["robust"].isna().all() and (annotators["n_robust"] == 0).all()
    with pytest.raises(InputError, match="two annotators"):
        agreement(slides[["slide_id", "pathologist_X"]])
    with pytest.raises(InputError, match="one method at a time"):
        table = pd.DataFrame({"slide_id": ["s0", "s0"], "method": ["m", "n"], "predicted": ["a", "a"]})
        agreement(slides, table)


def test_undefined_kappa_is_missing_with_a_reason(tmp_path):
    slides, _ = readers(20)
    constant = slides.assign(pathologist_X="a", pathologist_Y="a", pathologist_Z=None)
    pairs, annotators = agreement(constant, resamples=200)
    first = pairs.set_index(["first", "second"]).loc[("X", "Y")]
    assert np.isnan(first["kappa"]) and first["percent"] == 100 and "same one answer" in first["why"]
    assert 60 < first["percent_low"] < 100 and first["percent_high"] == pytest.approx(100)
    assert "no slide" in pairs.set_index(["first", "second"]).loc[("X", "Z"), "why"]
    assert annotators["kappa"].isna().all()
    ax = plot_agreement(pairs)
    ax.figure.savefig(tmp_path / "x.png")
    matplotlib.pyplot.close(ax.figure)


def test_minor_labels():
    slides, table = readers(40)
    slides["minor_X"] = ['["b", "c"]', "b", None, ""] * 10
    table["minor"] = [None, '["a"]', "[]", '["c"]'] * 10
    table.loc[3, "predicted"] = None
    found = minor_agreement(slides, table, resamples=200).set_index(["class", "first", "second"])
    assert len(found) == 3 * 6
    minor = {"X": [{"b", "c"}, {"b"}, set(), set()] * 10, "model": [set(), {"a"}, set(), {"c"}] * 10}
    said = {"X": slides["pathologist_X"], "model": table["predicted"]}
    for name in "abc":
        shows = {w: [s == name or name in m for s, m in zip(said[w], minor[w])] for w in said}
        shows["model"][3] = "none"
        row = found.loc[(name, "X", "model")]
        a, b = ([str(v) for v in shows[w]] for w in ("X", "model"))
        assert row["kappa"] == pytest.approx(metrics.cohen_kappa_score(a, b), abs=1e-12)
        assert row["percent"] == pytest.approx(100 * np.mean(np.array(a) == np.array(b)))
    with pytest.raises(InputError, match="no JSON list"):
        minor_agreement(slides.assign(minor_Y='["a"'), table)


def test_calibration():
    table, slides, names = study(200, per_patient=4)
    found = calibration(table, names[0], 5, slides, 200)
    place = np.minimum((table[f"prob_{names[0]}"] * 5).astype(int), 4)
    expected = (table["label"] == names[0]).groupby(place).agg(["size", "mean"])
    assert found["n"].tolist() == expected["size"].tolist()
    assert found["observed"].to_numpy() == pytest.approx(expected["mean"].to_numpy())
    assert ((found["low"] <= found["observed"]) & (found["observed"] <= found["high"])).all()
    table.loc[:9, f"prob_{names[0]}"] = np.nan
    assert calibration(table, names[0])["n"].sum() == 190
    assert len(calibration(table[:0], names[0], slides=slides)) == 0
    with pytest.raises(InputError, match="no column prob_x"):
        calibration(table, "x")


def test_precision_recall_curve():
    table, names = table_of(80)
    curve = precision_recall(table, names[0])
    area = (curve["recall"].diff() * curve["precision"]).sum()
    truth, score = table["label"] == names[0], table[f"prob_{names[0]}"]
    assert area == pytest.approx(metrics.average_precision_score(truth, score), abs=1e-12)
    with pytest.raises(ValueError, match="nothing in the truth"):
        precision_recall(table.assign(label=names[1]), names[0])


@pytest.mark.parametrize("n_methods", [1, 3, 10])
def test_pictures_of_methods_draw(tmp_path, n_methods):
    by_slide, slides = methods_of()
    tables = [by_slide[:30].assign(method=f"a long method name, number {i}") for i in range(n_methods)]
    tables[-1] = tables[-1].assign(label="class 0_/ü")
    by_slide = pd.concat(tables, ignore_index=True)
    figures = [plot_comparison(compare_aggregators(by_slide, slides, 100))[0], plot_rocs(by_slide)[0]]
    figures += [plot_pr(tables[0]), plot_calibration(tables[0], slides)]
    own = matplotlib.figure.Figure(layout="constrained")  # as the report does
    axes = own.subplots(2, n_methods, squeeze=False)
    figures.append(plot_rocs(by_slide, axes[0])[0])
    for ax in figures:
        ax.figure.savefig(tmp_path / "x.png")
    matplotlib.pyplot.close("all")


def test_agreement_refuses_a_slide_twice():
    slides, table = readers(10)
    for function in (agreement, minor_agreement):
        with pytest.raises(InputError, match="'s0' occurs twice"):
            function(pd.concat([slides, slides[:1]]), table)
        with pytest.raises(InputError, match="two annotators"):
            function(slides[["slide_id"]], table)


def test_pictures_take_tables_that_were_json(tmp_path):
    slides, _ = readers(10)
    pairs, _ = agreement(slides.assign(pathologist_X="a", pathologist_Y="a", pathologist_Z="a"), resamples=50)
    by_slide, slides = methods_of()
    table = compare_aggregators(by_slide.assign(label="class 0_/ü"), slides, 50)
    for found, plot in ((pairs, plot_agreement), (table, plot_comparison)):
        records = found.astype(object).where(found.notna(), None).to_dict("records")
        assert plain(records)
        ax = plot(pd.DataFrame(records))
        (ax if plot is plot_agreement else ax[0]).figure.savefig(tmp_path / "x.png")
    matplotlib.pyplot.close("all")
