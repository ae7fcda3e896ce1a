"""Aggregation: every slide has a row, ties are decided as stated, and DeepSlide's vote to the letter."""

import numpy as np
import pandas as pd
import pytest

from deepslide_nb.aggregation import (
    METHODS,
    aggregate,
    average_probability,
    choose_threshold,
    deepslide_vote,
    majority_vote,
    threshold_vote,
)
from deepslide_nb.settings import InputError

CLASSES = ["normal", "a_b/c ü", "solid"]


def predictions(seed=0, slides=12, dtype="float32"):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 30, slides)
    table = pd.DataFrame(
        rng.dirichlet(np.ones(3), n.sum()).astype(dtype), columns=[f"prob_{c}" for c in CLASSES]
    )
    table.insert(0, "slide_id", np.repeat([f"s/{i}" for i in range(slides)], n))
    return table


def slides_of(table, *more):
    ids = list(dict.fromkeys(table["slide_id"])) + list(more)
    return pd.DataFrame({"slide_id": ids, "label": [CLASSES[i % 3] for i in range(len(ids))]})


def test_against_plain_pandas():
    table = predictions()
    slides = slides_of(table)
    mean = table.groupby("slide_id", sort=False).mean()
    found = average_probability(table, slides).set_index("slide_id")
    assert np.allclose(found[mean.columns], mean, atol=1e-6)
    assert (found["predicted"] == mean.idxmax(axis=1).str.removeprefix("prob_")).all()
    votes = (
        table.set_index("slide_id")
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
    assert len(found) == 24 and found["predicted"].isna().all() and found["n_tiles"].eq(0).all()


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
    slides = pd.DataFrame({"slide_id": ["s"], "label": ["b"]})
    assert deepslide_vote(table, slides, 0.5)["n_tiles"][0] == 1
    assert deepslide_vote(table, slides, 0.9)["n_tiles"][0] == 0
    best, tried = choose_threshold(table, slides)
    assert best == 0.5 and tried["threshold"].tolist() == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert tried["mean_accuracy"].tolist() == [0, 0, 1, 1, 1, 1, 0]


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
    start = time.perf_counter()
    aggregate(table, slides_of(table))
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
