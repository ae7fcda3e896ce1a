"""The answers of the quiz of lesson 01, computed."""

from hashlib import sha256

import numpy as np
from quizzes import right
from sklearn.metrics import balanced_accuracy_score

from deepslide_nb.samples import to_rgb


def test_three_layers():  # question 1
    half = np.full((2, 3), np.log10(2))
    [[rgb]] = to_rgb(np.full((1, 1), 3, "float32"), np.zeros((1, 1), "float32"), half, (200, 200, 200))
    [share] = right("01_samples", 1)
    assert abs(rgb[1] / 200 - share) < 0.006  # to_rgb rounds down to whole steps


def test_density():  # question 2
    assert right("01_samples", 2) == [-np.log10(0.01)]


def test_fewest_edges():  # question 4
    from deepslide_nb.samples import ARTEFACTS, spoil

    rng = np.random.default_rng(0)
    field = np.full((600, 600, 3), (220, 150, 190), np.uint8)
    field[rng.random((600, 600)) < 0.1] = (90, 60, 140)
    made = {a: spoil(np.random.default_rng(3), field, (a,)).astype(float) for a in ARTEFACTS}
    edges = {a: (np.abs(np.diff(v, axis=1)) > 20).mean() for a, v in made.items()}
    assert min(edges, key=edges.get) in right("01_samples", 4)[0]


def test_balanced_accuracy():  # question 6
    assert right("01_samples", 6) == [balanced_accuracy_score([0] * 90 + [1] * 10, [0] * 100)]


def test_fingerprint():  # question 8
    data = b"a slide" * 100
    changed = {
        "The download broke off": sha256(data[:-1]),
        "The owner has put": sha256(b"another slide" * 100),
        "The file was given": sha256(data),
    }
    refused = [start for start, found in changed.items() if found.digest() != sha256(data).digest()]
    answers = right("01_samples", 8)
    assert all(any(a.startswith(start) for a in answers) == (start in refused) for start in changed)
