"""Aggregation: every slide has a row, ties are decided as stated, and nothing is fitted to a test slide."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from deepslide_nb.aggregation import (
    ATTENTION,
    CANDIDATES,
    FITTED,
    LEARNED,
    METHODS,
    _mean_recall,
    aggregate,
    average_probability,
    check_methods,
    choose_threshold,
    deepslide_vote,
    known_slides,
    largest_patch,
    learned_vote,
    majority_vote,
    search_thresholds,
    tally,
    threshold_vote,
    vote_features,
)
from deepslide_nb.settings import InputError

CLASSES = ["normal", "a_b/c ü", "solid"]
pytestmark = pytest.mark.filterwarnings("ignore:.*learns from")


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr("deepslide_nb.aggregation.TREES", 10)


def predictions(seed=0, slides=36, dtype="float32"):
    "1 to 29 tiles a slide on a grid, at random, a little more of the class that `slides_of` gives the slide."
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 30, slides)
    which = np.repeat(np.arange(slides), n)
    probs = np.concatenate([rng.dirichlet(np.ones(3) + (i % 3 == np.arange(3)), k) for i, k in enumerate(n)])
    table = pd.DataFrame(probs.astype(dtype), columns=[f"prob_{c}" for c in CLASSES])
    at = np.concatenate([np.arange(k) for k in n])
    table[["x", "y", "size"]] = np.stack([at % 5 * 96, at // 5 * 96, np.full(len(at), 96)], axis=1)
    table.insert(0, "slide_id", [f"s/{i}" for i in which])
    return table


def slides_of(table, *more):
    "Classes in turn, two slides a patient, whole patients in train, valid and test."
    ids = list(dict.fromkeys(table["slide_id"])) + list(more)
    i = np.arange(len(ids))
    return pd.DataFrame(
        {
            "slide_id": ids,
            "label": [CLASSES[k % 3] for k in i],
            "patient_id": [f"P{k // 6 * 3 + k % 3}" for k in i],
            "split": np.array(["train", "train", "valid", "train", "test", "valid"])[i // 6 % 6],
        }
    )


def test_against_plain_pandas():
    table = predictions()
    slides = slides_of(table)
    mean = table.drop(columns=["x", "y", "size"]).groupby("slide_id", sort=False).mean()
    found = average_probability(table, slides).set_index("slide_id")
    assert np.allclose(found[mean.columns], mean, atol=1e-6)
    assert (found["predicted"] == mean.idxmax(axis=1).str.removeprefix("prob_")).all()
    votes = (
        table.set_index("slide_id")
        .filter(like="prob_")
        .idxmax(axis=1)
        .groupby("slide_id", sort=False)
        .value_counts(normalize=True)
        .unstack()
    )
    shares = majority_vote(table, slides).set_index("slide_id")
    assert np.allclose(shares[mean.columns], votes[mean.columns].fillna(0).loc[shares.index])


@pytest.mark.parametrize("method", METHODS)
def test_the_table(method):
    table = predictions()
    slides = slides_of(table, "empty").iloc[::-1]
    found = aggregate(table, slides, [method], CLASSES[0])
    assert list(found) == [
        "slide_id",
        "method",
        "predicted",
        *[f"prob_{c}" for c in CLASSES],
        "n_tiles",
        "label",
        "minor",
    ]
    assert (
        found["slide_id"].tolist() == slides["slide_id"].tolist()
        and found["label"].tolist() == slides["label"].tolist()
    )
    assert found["n_tiles"].iloc[0] == 0 and found["n_tiles"].dtype.kind == "i"
    assert (
        found.iloc[0][["predicted", "prob_normal"]].isna().all() and found["predicted"].iloc[1:].notna().all()
    )
    assert found.filter(like="prob_").iloc[1:].sum(axis=1).round(5).eq(1).all()


@pytest.mark.parametrize("method", METHODS)
def test_order_of_tiles_does_not_matter(method):
    table = predictions()
    slides = slides_of(table)
    a, b = (aggregate(t, slides, [method], CLASSES[0]) for t in (table, table.sample(frac=1, random_state=1)))
    pd.testing.assert_frame_equal(a, b)


def test_tiles_without_numbers_and_of_other_slides_are_no_evidence():
    table = predictions(slides=3)
    slides = slides_of(table)[:2]
    table.loc[table["slide_id"] == "s/1", "prob_solid"] = np.nan
    found = average_probability(table, slides)
    assert (
        len(found) == 2
        and found["n_tiles"].tolist()[1] == 0
        and found["predicted"].isna().tolist() == [False, True]
    )


def test_no_predictions_at_all():
    table = predictions()
    found = aggregate(table[:0], slides_of(table))
    assert len(found) == 72 and found["predicted"].isna().all() and found["n_tiles"].eq(0).all()


def test_ties():
    columns = ["slide_id", "prob_z", "prob_a"]
    slides = pd.DataFrame({"slide_id": ["s"], "label": ["a"]})
    for rows, winner in (
        ([(0.6, 0.4), (0.1, 0.9)], "a"),
        ([(0.9, 0.1), (0.4, 0.6)], "z"),
        ([(0.7, 0.3), (0.3, 0.7)], "z"),
        ([(0.5, 0.5)], "z"),
    ):
        table = pd.DataFrame([("s", *r) for r in rows], columns=columns)
        assert majority_vote(table, slides)["predicted"][0] == winner


def test_deepslide_vote_to_the_letter():
    table = predictions(seed=3, slides=20)
    slides = slides_of(table, "empty")
    for t in [i / 10 for i in range(3, 10)]:
        found = deepslide_vote(table, slides, t).set_index("slide_id")
        for slide_id, tiles in table.groupby("slide_id"):
            probs = tiles[[f"prob_{c}" for c in CLASSES]].to_numpy()
            votes = np.bincount(probs.argmax(1)[probs.max(1) > t], minlength=3)
            row = found.loc[slide_id]
            assert row["n_tiles"] == votes.sum()
            if votes.sum() == 0:
                assert pd.isna(row["predicted"])
            elif (votes == votes.max()).sum() == 1:
                assert row["predicted"] == CLASSES[votes.argmax()]
                assert np.allclose(row[[f"prob_{c}" for c in CLASSES]].astype(float), votes / votes.sum())
        assert found.loc["empty", "n_tiles"] == 0


def test_threshold_is_strict_and_first_best_wins():
    table = pd.DataFrame({"slide_id": ["s", "s", "s"], "prob_a": [0.5, 0.5, 0.1], "prob_b": [0.5, 0.5, 0.9]})
    slides = pd.DataFrame({"slide_id": ["s", "t"], "label": ["b", "a"], "split": "valid"})
    assert deepslide_vote(table, slides, 0.5)["n_tiles"][0] == 1
    assert deepslide_vote(table, slides, 0.9)["n_tiles"][0] == 0
    best, tried = choose_threshold(table, slides)
    assert best == 0.5 and tried["threshold"].tolist() == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert tried["mean_accuracy"].tolist() == [0, 0, 0.5, 0.5, 0.5, 0.5, 0]


def test_unknown_method_and_missing_columns():
    with pytest.raises(InputError, match="median"):
        aggregate(predictions(), slides_of(predictions()), ["median"])
    with pytest.raises(InputError, match="prob_<class>"):
        aggregate(pd.DataFrame({"slide_id": []}), slides_of(predictions()))


def test_half_a_million_tiles_are_quick():
    import time

    n = 500_000
    table = pd.DataFrame(np.random.default_rng(0).random((n, 3)), columns=[f"prob_{c}" for c in CLASSES])
    table.insert(0, "slide_id", np.repeat([f"s{i}" for i in range(500)], n // 500))
    slides = slides_of(table)
    start = time.perf_counter()
    aggregate(table, slides, [m for m in METHODS if m not in LEARNED], CLASSES[0])
    assert time.perf_counter() - start < 5


def test_threshold_vote_against_a_loop():
    table = predictions(seed=5, slides=40)
    slides = slides_of(table, "empty")
    found = threshold_vote(table, slides, CLASSES[0], least=3, confidence=0.6).set_index("slide_id")
    seen = set()
    for slide_id, tiles in table.groupby("slide_id"):
        probs = tiles[[f"prob_{c}" for c in CLASSES]].to_numpy(float)
        votes, best = probs.argmax(1), None
        for c in (1, 2):
            mine = probs[votes == c, c]
            if len(mine) >= 3 and mine.mean() > 0.6:
                rank = len(mine), probs[:, c].mean()
                best = max(best or (rank, c), (rank, c), key=lambda b: b[0])
        expected = CLASSES[best[1]] if best else CLASSES[0]
        assert found.loc[slide_id, "predicted"] == expected
        seen.add(expected)
    assert seen == set(CLASSES) and pd.isna(found.loc["empty", "predicted"])
    with pytest.raises(InputError, match="background = benign"):
        threshold_vote(table, slides, "benign")


def test_several_labels_against_a_loop():
    table, own = predictions(seed=7), {"a_b/c ü": 1, "solid": 3}
    slides = slides_of(table, "empty")
    options = dict(least=own, share={"a_b/c ü": 0.2, "solid": 0.1}, confidence=0.5)
    found = threshold_vote(table, slides, CLASSES[0], **options).set_index("slide_id")
    lengths = set()
    for slide_id, tiles in table.groupby("slide_id"):
        probs = tiles[[f"prob_{c}" for c in CLASSES]].to_numpy(float)
        ranks = []
        for c in (1, 2):
            mine = probs[probs.argmax(1) == c, c]
            enough = len(mine) >= own[CLASSES[c]] and len(mine) / len(probs) >= options["share"][CLASSES[c]]
            if enough and mine.mean() > 0.5:
                ranks.append((len(mine), probs[:, c].mean(), CLASSES[c]))
        names = [name for *_, name in sorted(ranks, reverse=True)]
        row = found.loc[slide_id]
        assert row["predicted"] == (names[0] if names else CLASSES[0])
        assert json.loads(row["minor"]) == names[1:]
        lengths.add(len(names))
    assert lengths == {0, 1, 2} and pd.isna(found.loc["empty", "minor"])


def test_thresholds_name_every_class():
    table = predictions()
    for wrong in ({"solid": 1}, {"solid": 1, "a_b/c ü": 1, "benign": 1}):
        with pytest.raises(InputError, match="thresholds are for"):
            threshold_vote(table, slides_of(table), CLASSES[0], least=wrong)
    named = {"normal": 99, "solid": 5, "a_b/c ü": 5}  # the background's number is of no account
    pd.testing.assert_frame_equal(
        threshold_vote(table, slides_of(table), CLASSES[0], least=named),
        threshold_vote(table, slides_of(table), CLASSES[0]),
    )


@pytest.mark.parametrize("least, winner", [(5, "normal"), (1, "solid")])
def test_one_tile(least, winner):
    columns = ["slide_id", "prob_normal", "prob_solid", "prob_a"]
    table = pd.DataFrame([("s", 0.05, 0.9, 0.05)], columns=columns)
    slides = pd.DataFrame({"slide_id": ["s"]})
    assert threshold_vote(table, slides, "normal", least)["predicted"].tolist() == [winner]
    assert majority_vote(table, slides)["predicted"].tolist() == ["solid"]
    assert average_probability(table, slides)["predicted"].tolist() == ["solid"]


def test_a_class_without_votes_never_qualifies():
    table = pd.DataFrame([("s", 0.9, 0.1)], columns=["slide_id", "prob_normal", "prob_solid"])
    found = threshold_vote(table, pd.DataFrame({"slide_id": ["s"]}), "normal", 0, 0.0, -1.0)
    assert found["predicted"].tolist() == ["normal"] and found["minor"].tolist() == ["[]"]


def fit(name, table, slides):
    "What a fitted method makes of the slides: thresholds, or the verdicts on train and valid."
    if name == "threshold_search":
        return search_thresholds(table, slides, CLASSES[0])[0]
    if name == "deepslide":
        return choose_threshold(table, slides)[0]
    found = learned_vote(table, slides, name)
    return found[slides["split"].to_numpy() != "test"].to_csv()


@pytest.mark.parametrize("name", FITTED)
def test_test_slides_change_nothing(name):
    "Poison: other labels and other tiles of the test slides, fewer and more of them."
    table = predictions()
    slides = slides_of(table)
    before = fit(name, table, slides)
    test = slides["split"] == "test"
    rng = np.random.default_rng(1)
    for labels in ("benign",) if name in LEARNED else ("normal", "solid", None, "benign"):
        bad, lie = table.copy(), slides.copy()
        lie.loc[test, "label"] = labels
        rows = bad["slide_id"].isin(slides.loc[test, "slide_id"]).to_numpy()
        noise = rng.dirichlet(np.ones(3) / 9, rows.sum()).astype("float32")
        bad.loc[rows, [f"prob_{c}" for c in CLASSES]] = noise
        assert fit(name, pd.concat([bad, bad[rows], bad[rows]]), lie) == before
    assert fit(name, table[~rows], slides) == before


@pytest.mark.parametrize("name", FITTED)
def test_leaks_are_refused(name):
    table = predictions()
    slides = slides_of(table)
    test = slides["split"] == "test"
    shared, twice = slides.copy(), pd.concat([slides, slides[test][:1].assign(split="valid")])
    valid = slides.loc[slides["split"] == "valid", "patient_id"]
    shared.loc[shared.index[test][0], "patient_id"] = valid.iloc[0]
    for bad, says in (
        (shared, "has slides in valid and test"),
        (twice, "stands in the slides table twice"),
        (slides.drop(columns="split"), "no column split"),
        (slides.drop(columns="label"), "no column label"),
        (slides.assign(split="test"), "no labelled slides in"),
        (slides[test | (slides["label"] == "normal")], "only slides of 'normal'"),
    ):
        with pytest.raises(InputError, match=says):
            aggregate(table, bad, [name], CLASSES[0])
        if "label" in bad:
            with pytest.raises(InputError, match=says):
                check_methods([name], bad, CLASSES[0])


def test_search_finds_what_it_can():
    "Never worse than 5 tiles and 0.7; with two classes the best of all candidates, the first of equals."
    for seed in range(5):
        table = predictions(seed, slides=36)
        slides = slides_of(table)
        valid = known_slides(slides, ["valid"])
        votes = tally(table, valid)
        truth = pd.Index(CLASSES).get_indexer(valid["label"])
        found, tried = search_thresholds(table, slides, "normal")
        own = [found[k] for k in ("least", "share", "confidence")]
        rules = np.array([CANDIDATES[0]] + [[part[c] for part in own] for c in CLASSES[1:]], float)
        reached = _mean_recall(votes, truth, rules, "normal")
        assert reached == tried["mean_accuracy"].max() >= tried["mean_accuracy"][0]
        verdict = threshold_vote(table, valid, **found)
        right = (verdict["predicted"] == verdict["label"]).groupby(verdict["label"]).mean().mean()
        assert np.isclose(reached, right)
        assert json.loads(json.dumps(found)) == found

        two = table.drop(columns="prob_solid")
        pairs = slides[slides["label"] != "solid"]
        found, tried = search_thresholds(two, pairs, "normal")
        best = tried[tried["turn"] == 0].reset_index(drop=True)["mean_accuracy"].idxmax()
        assert tuple(found[k]["a_b/c ü"] for k in ("least", "share", "confidence")) == CANDIDATES[best]


def test_search_leaves_the_trap():
    "False alarms of both classes on the same normal slides: stricter for one alone gains nothing."
    shape = [("n", 6, 6), ("n", 7, 6), ("a", 14, 0), ("s", 0, 14)]
    rows = [(f"{k}", 0.1, 0.8, 0.1) for k, (_, a, _) in enumerate(shape) for _ in range(a)]
    rows += [(f"{k}", 0.1, 0.1, 0.8) for k, (*_, s) in enumerate(shape) for _ in range(s)]
    rows += [(f"{k}", 0.9, 0.05, 0.05) for k in range(4) for _ in range(30)]
    table = pd.DataFrame(rows, columns=["slide_id", "prob_n", "prob_a", "prob_s"])
    slides = pd.DataFrame({"slide_id": list("0123"), "label": list("nnas"), "split": "valid"})
    found, _ = search_thresholds(table, slides, "n")
    assert found["least"] == {"a": 10, "s": 10}
    assert threshold_vote(table, slides, **found)["predicted"].tolist() == list("nnas")


def test_search_needs_background_slides():
    table = predictions()
    slides = slides_of(table)
    slides = slides[(slides["split"] != "valid") | (slides["label"] != "normal")]
    with pytest.raises(InputError, match="background = solid: the classes are"):
        search_thresholds(table.drop(columns="prob_solid"), slides, "solid")
    for refuse in (
        lambda: search_thresholds(table, slides, "normal"),
        lambda: check_methods(["threshold_search"], slides, "normal"),
    ):
        with pytest.raises(InputError, match="could not see false alarms"):
            refuse()


def test_largest_patch_against_ndimage():
    "On a plain grid the patches are scipy's, corners count; places may be shifted and tiles may overlap."
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 7), (9, 8), (20, 20)):
        votes = rng.integers(0, 3, shape)
        y, x = np.indices(shape)
        expected = []
        for c in range(4):
            labels, n = ndimage.label(votes == c, structure=np.ones((3, 3)))
            expected.append(np.bincount(labels[labels > 0], minlength=2)[1:].max(initial=0))
        order = rng.permutation(votes.size)
        for step in (96, 64):  # a third of overlap
            xy = np.stack([x.ravel() * step + 17, y.ravel() * step - 5], axis=1)[order]
            if step == 96:
                assert largest_patch(xy, 96, votes.ravel()[order], 4).tolist() == expected
            else:
                assert (largest_patch(xy, 96, votes.ravel()[order], 4) >= expected).all()


def test_features_by_hand():
    table = predictions(slides=6)
    slides = slides_of(table, "empty").iloc[::-1]
    found = vote_features(table, slides)
    assert found.index.tolist() == slides["slide_id"].tolist() and found.loc["empty"].isna().all()
    assert found.shape == (7, 19) and found.drop("empty").notna().all().all()
    tiles = table[table["slide_id"] == "s/3"]
    probs = tiles[[f"prob_{c}" for c in CLASSES]].to_numpy(float)
    for i, c in enumerate(CLASSES):
        row = found.loc["s/3", [f"{k}_{c}" for k in ("share", "mean", "q10", "q50", "q90")]]
        quantiles = np.quantile(probs[:, i], [0.1, 0.5, 0.9])
        by_hand = [(probs.argmax(1) == i).mean(), probs[:, i].mean(), *quantiles]
        assert np.allclose(row.astype(float), by_hand)
    assert np.isclose(found.loc["s/3", "log_tiles"], np.log10(len(tiles)))
    with pytest.raises(InputError, match="no column size"):
        vote_features(table.drop(columns="size"), slides)
    assert vote_features(table[:0], slides).isna().all().all()


@pytest.mark.parametrize("kind", LEARNED)
def test_learned_vote(kind):
    table = predictions(3, slides=36)
    slides = slides_of(table, "empty")
    with pytest.warns(UserWarning, match="learns from 30 slides; below 1,000"):
        found = learned_vote(table, slides, kind)
    assert found["slide_id"].tolist() == slides["slide_id"].tolist() and found["method"].eq(kind).all()
    probs = found[[f"prob_{c}" for c in CLASSES]].to_numpy()[:-1]
    assert np.allclose(probs.sum(1), 1) and (probs >= 0).all()
    assert (np.array(CLASSES)[probs.argmax(1)] == found["predicted"][:-1]).all()
    assert pd.isna(found["predicted"].iloc[-1]) and found["n_tiles"].iloc[-1] == 0
    assert (found["predicted"] == found["label"])[slides["split"] == "test"].mean() > 0.5
    other = slides.sample(frac=1, random_state=0)
    again = learned_vote(table, other, kind).set_index("slide_id").loc[slides["slide_id"]].reset_index()
    pd.testing.assert_frame_equal(found, again)


def test_nobody_judges_a_patient_it_learned_from():
    "With labels at random, and features that name the slide, only a learner that saw the patient is right."
    rng = np.random.default_rng(0)
    n = 60
    table = pd.DataFrame({"slide_id": [f"s{i}" for i in range(n)], "x": 0, "y": 0, "size": 1})
    p = np.repeat(rng.random(n // 3), 3)  # three slides of each patient are alike
    table["prob_a"], table["prob_b"] = p, 1 - p
    slides = pd.DataFrame({"slide_id": table["slide_id"], "patient_id": np.arange(n) // 3, "split": "train"})
    slides["label"] = np.where(np.repeat(rng.random(n // 3) < 0.5, 3), "a", "b")
    by_slide = slides.assign(patient_id=slides["slide_id"])
    verdicts = [learned_vote(table, s, "forest") for s in (slides, by_slide)]
    right = [(v["predicted"] == v["label"]).mean() for v in verdicts]
    assert right[0] < 0.75 and right[1] > 0.9


def test_a_class_without_slides_has_probability_0():
    table = predictions()
    slides = slides_of(table)
    slides = slides[(slides["label"] != "solid") | (slides["split"] == "test")]
    for kind in ("logistic", "svm"):  # with two classes their code differs
        found = learned_vote(table, slides, kind)
        assert found["prob_solid"].eq(0).all() and found["predicted"].isin(CLASSES[:2]).all()


def test_too_few_patients_for_machine_learning():
    table = predictions()
    slides = slides_of(table)
    solid = (slides["label"] == "solid") & (slides["split"] != "test")
    few = slides[~solid | (slides["patient_id"] == slides.loc[solid, "patient_id"].iloc[0])]
    with pytest.raises(InputError, match="two patients of every class"):
        learned_vote(table, few, "logistic")
    with pytest.raises(InputError, match="two patients of every class"):
        check_methods(["svm"], few)
    with pytest.raises(InputError, match="no learner 'tree'"):
        learned_vote(table, slides, "tree")


def test_two_patients_of_each_class_are_enough():
    table = predictions()
    slides = slides_of(table)
    few = slides[slides["patient_id"].isin([f"P{i}" for i in (0, 1, 2, 3, 4, 5)])]
    check_methods(METHODS, slides, "normal")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*learns from")
        for kind in LEARNED:
            assert learned_vote(table, few, kind)["predicted"].notna().all()


def test_check_methods():
    table = predictions()
    slides = slides_of(table)
    check_methods([*METHODS, *ATTENTION], slides, "normal")
    check_methods(["average", "majority"], slides[["slide_id"]])
    with pytest.raises(InputError, match="unknown aggregation"):
        check_methods(["median"], slides)
    for name in ("threshold", "threshold_search"):
        with pytest.raises(InputError, match=f"{name} needs a background class"):
            check_methods([name], slides)
        with pytest.raises(InputError, match="background = benign: the classes are"):
            check_methods([name], slides, "benign")
    for name in ATTENTION:
        with pytest.raises(InputError, match="no labelled slides in train"):
            check_methods([name], slides[slides["split"] != "train"])
        with pytest.raises(InputError, match="unknown aggregation"):
            aggregate(table, slides, [name])
